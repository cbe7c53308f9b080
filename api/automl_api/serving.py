"""Running the service: one socket, the HTTP server, and one worker as a child process."""

import errno
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import ValidationError

from automl_api.app import create_app
from automl_api.connections import connections_within, raise_descriptor_limit, server_of
from automl_api.guard import LOOPBACK_NAMES
from automl_api.settings import Settings
from automl_api.threads import ONE_THREAD
from automl_compress.core.errors import InvalidInput
from automl_compress.store import Database

SHUTDOWN_SECONDS = 3  # for answers that are on their way; event streams are cut
WORKER_SHUTDOWN_SECONDS = 20
RESTART_SECONDS = 2.0
SWITCH_SECONDS = 0.0005  # for which one thread may keep the interpreter from the others
UNREAD_SECONDS = 60.0  # for which a client may take nothing of an answer that is there for it

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve, besides the settings."""

    has_worker: bool = True
    is_json: bool = False


def read_settings(**told: Any) -> Settings:
    """Read the settings from the environment; what is told and not None comes first.

    Raises:
        InvalidInput: a value that is not allowed.
    """
    try:
        return Settings(**{name: value for name, value in told.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(map(str, first["loc"])).upper()
        raise InvalidInput(
            f"AUTOML_COMPRESS_{name} is {first.get('input')!r}: {first['msg']}"
        ) from error


def serve_forever(settings: Settings, options: ServeOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InvalidInput: the port is in use, no key is set and the host is not loopback, or this
            process may open hardly any files.
        StorageFailed: the database cannot be opened.
    """
    check_host(settings)
    connections = connections_within(settings, raise_descriptor_limit())
    settings = settings.model_copy(update={"max_connections": connections})
    listener = listen(settings.host, settings.port)
    _prepare(settings)
    address = f"http://{settings.host}:{listener.getsockname()[1]}"
    server = server_of(
        create_app(settings),
        settings,
        log_config=None,  # into the log that the command set up
        access_log=False,  # `Metered` writes it, with the request's id
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    # uvicorn raises the signal again once it has shut down; the worker must still be ended.
    signal.signal(signal.SIGTERM, _exit)
    # An answer waits for the interpreter behind each of its queries, while a page is made.
    sys.setswitchinterval(SWITCH_SECONDS)
    # What is there by now stays: all answers would wait while garbage is looked for in it.
    gc.collect()
    gc.freeze()
    with worker_process(settings) if options.has_worker else nullcontext():
        typer.echo(json.dumps({"url": address}) if options.is_json else f"serving {address}")
        sys.stdout.flush()
        server.run(sockets=[listener])


def _prepare(settings: Settings) -> None:
    """Open the database before the address is told, so that a wrong one ends the command."""
    database = Database(settings.tables_url)
    try:
        database.upgrade()
    finally:
        database.close()


def _exit(_signal: int, _frame: object) -> None:
    sys.exit(0)


def check_host(settings: Settings) -> None:
    """Refuse to open a service without a key to the network; raises InvalidInput."""
    if settings.key is None and settings.host not in LOOPBACK_NAMES:
        raise InvalidInput(
            f"the host is {settings.host!r}, but without a key the service binds loopback only; "
            f"set AUTOML_COMPRESS_KEY, or choose one of: {', '.join(LOOPBACK_NAMES)}"
        )


def listen(host: str, port: int) -> socket.socket:
    """Bind the service's socket before anything else is started.

    Raises:
        InvalidInput: the port is in use, or the host is not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol is named, for asyncio sends answers at once (TCP_NODELAY) only where it is:
        # an answer on an open connection would wait 40 ms for the caller's acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        return _bound(listener, host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InvalidInput(
                f"port {port} of {host} is in use; choose another with --port, or --port 0 for "
                "any free one"
            ) from error
        raise InvalidInput(
            f"the service cannot listen on {host} port {port} ({error.strerror}); choose another "
            "--host or --port"
        ) from error


def _bound(listener: socket.socket, host: str, port: int) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; what is accepted inherits it
            milliseconds = round(1000 * UNREAD_SECONDS)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        listener.bind((host, port))
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def worker_process(settings: Settings) -> Generator[None]:
    """Keep one worker running for as long as the block lasts."""
    stop = threading.Event()
    keeper = threading.Thread(target=_keep_worker, args=(settings, stop), name="worker-keeper")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _keep_worker(settings: Settings, stop: threading.Event) -> None:
    while not stop.is_set():
        child = subprocess.Popen(
            [sys.executable, "-m", "automl_api.cli", "worker", "--with-parent"],
            env=worker_environment(settings),
            stdin=subprocess.PIPE,  # it ends when this process does, however that happens
            start_new_session=True,  # Ctrl-C is for this process, which then ends the worker
        )
        while child.poll() is None and not stop.wait(0.1):
            pass
        if child.poll() is None:
            _end(child)
        elif not stop.wait(RESTART_SECONDS):
            _log.error("the worker ended with %s; starting another one", child.returncode)


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a child process the same settings."""
    told = {
        "DATA_DIR": str(settings.data_dir.absolute()),
        "DATABASE_URL": settings.tables_url,
        "LEASE_SECONDS": str(settings.lease_seconds),
        "POLL_SECONDS": str(settings.poll_seconds),
        "CHUNK_SECONDS": str(settings.chunk_seconds),
        "LOG_FORMAT": settings.log_format,
        "LOG_LEVEL": settings.log_level,
    }
    return {
        **ONE_THREAD,
        **os.environ,
        **{f"AUTOML_COMPRESS_{name}": value for name, value in told.items()},
    }


def end_with_parent() -> None:
    """End this process when its standard input ends, which it does with the parent."""

    def watch() -> None:
        while os.read(0, 4096):  # not by sys.stdin, whose lock would block the interpreter's end
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(WORKER_SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
