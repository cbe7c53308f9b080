"""The HTTP server: how long a client may take to say what it wants, and how many may stay.

uvicorn bounds the time between two requests, but neither that of a header nor that of a body
which nobody reads any more, and has no problem documents. `arriving` bounds the bodies that are
read, the kernel (see `serving.listen`) the answers that a client does not take.
"""

import asyncio
import json
import math
import resource
import secrets
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from automl_api.client_addresses import client_of, is_this_machine
from automl_api.keys.caller import Caller
from automl_api.problem import MEDIA_TYPE, Problem, document
from automl_api.settings import Settings
from automl_compress.core.errors import InvalidInput

_BACKLOG = 128  # connections that the kernel holds before they are accepted, and at one go
_SPARE_CONNECTIONS = 64  # for clients that still say what they want, or are told to come again
_RESERVED_DESCRIPTORS = 256  # for both of these, tables, logs and child processes
_FEWEST_CONNECTIONS = 16
_LATER = {"Retry-After": "2", "Connection": "close"}


def server_of(app: FastAPI, settings: Settings, **options: Any) -> uvicorn.Server:
    """Make the server of an application; `options` are uvicorn's."""
    most = settings.max_connections + _SPARE_CONNECTIONS
    protocol = partial(BoundedProtocol, Bounds(settings.header_seconds, most))
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", protocol),
            ws="none",
            backlog=_BACKLOG,
            **options,
        )
    )


def raise_descriptor_limit() -> int:
    """Let this process, and those it starts, open as many files as it may; returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def connections_within(settings: Settings, descriptors: int) -> int:
    """Return how many connections there may be: as the settings say, or fewer.

    Each may need a second descriptor, of a file that comes or goes.

    Raises:
        InvalidInput: so few descriptors leave hardly any.
    """
    most = (descriptors - _RESERVED_DESCRIPTORS) // 2
    if most < _FEWEST_CONNECTIONS:
        raise InvalidInput(
            f"this process may open {descriptors} files, the service needs at least "
            f"{_RESERVED_DESCRIPTORS + 2 * _FEWEST_CONNECTIONS}; raise the limit (ulimit -n)"
        )
    return min(settings.max_connections, most)


class Crowd:
    """Bounds how many requests are at work at once: together, from one address, of one account.

    Nobody takes all places: an address has its share, and an account, from wherever it asks; each
    is not more than three quarters of them. Of IPv6 a network of 64 bits counts as one address,
    which is what a single client is given. This machine itself has no share, since whoever may use
    its loopback could end the service, and administrators have none, like of everything.
    """

    def __init__(self, most: int, share: int, account_share: int) -> None:
        """Begin with none, of `most` together, `share` from one address."""
        self._most, largest = most, max(1, most * 3 // 4)
        self._share, self._account_share = min(share, largest), min(account_share, largest)
        self._present: Counter[str] = Counter()
        self._of_accounts: Counter[str] = Counter()

    @contextmanager
    def within(self, address: str, *, is_free: bool) -> Generator[None]:
        """Count a request for as long as the block lasts.

        Args:
            address: that it comes from; what is no IP address has a share of its own.
            is_free: the request is let in however many there are.

        Raises:
            Problem: there are as many as may be (`crowded`), or as many from this address
                (`rate-limited`).
        """
        client = client_of(address)
        if not is_free:
            self._check(client, has_share=not is_this_machine(address))
        with _counted(self._present, client):
            yield

    @contextmanager
    def of_account(self, caller: Caller) -> Generator[None]:
        """Count a request that was let in as its account's, for as long as the block lasts.

        Raises:
            Problem: there are as many of this account as may be (`rate-limited`).
        """
        if caller.is_administrator or not caller.account:
            yield
            return
        theirs = self._of_accounts[caller.account]
        if theirs >= self._account_share:
            raise _too_many(theirs, f"of account {caller.account!r}", "ACCOUNT")
        with _counted(self._of_accounts, caller.account):
            yield

    def _check(self, client: str, *, has_share: bool) -> None:
        together, theirs = self._present.total(), self._present[client]
        if together >= self._most:
            raise Problem(
                503,
                "crowded",
                f"{together} requests are being answered, as many as may be at once; try "
                "again, or set AUTOML_COMPRESS_MAX_CONNECTIONS",
                headers=_LATER,
            )
        if has_share and theirs >= self._share:
            raise _too_many(theirs, "from your address", "ADDRESS")


@contextmanager
def _counted(present: Counter[str], name: str) -> Generator[None]:
    present[name] += 1
    try:
        yield
    finally:
        present[name] -= 1
        if not present[name]:
            del present[name]


def _too_many(theirs: int, whose: str, setting: str) -> Problem:
    return Problem(
        429,
        "rate-limited",
        f"{theirs} requests {whose} are being answered, as many as may be at once; end some, or "
        f"have the operator set AUTOML_COMPRESS_MAX_CONNECTIONS_PER_{setting}",
        headers=_LATER,
    )


@dataclass(frozen=True, slots=True)
class Bounds:
    """header_seconds: until a header has come; connections: beyond which one must go."""

    header_seconds: float
    connections: int


class BoundedProtocol(H11Protocol):
    """A connection that is closed where the client keeps it waiting.

    It waits for a header, or for the rest of a body that was answered already. Of too many
    connections, one goes of the address that keeps most waiting: the one that has waited longest.
    """

    def __init__(self, bounds: Bounds, *arguments: Any, **options: Any) -> None:
        """Prepare for one connection."""
        super().__init__(*arguments, **options)
        self._bounds = bounds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for the first header, and make room."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self._bounds.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; the first bytes after a pause begin a request."""
        if self.timeout_keep_alive_task is not None:
            self._forget_deadline()
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for what follows the answer."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Say what uvicorn says in plain text."""
        self._refuse(
            Problem(
                400,
                "malformed",
                "what came is no request of HTTP/1.1, or its header is longer than 64 KiB",
            )
        )

    def _watch(self) -> None:
        theirs, ours = self.conn.their_state, self.conn.our_state
        is_answered = ours in (h11.DONE, h11.MUST_CLOSE)
        is_waiting = theirs is h11.IDLE or (theirs is h11.SEND_BODY and is_answered)
        if not is_waiting or self.transport.is_closing():
            self._forget_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._bounds.header_seconds, self._give_up)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self) -> None:
        others = cast("set[BoundedProtocol]", self.connections) - {self}
        waiting = [each for each in others if each._deadline is not None]
        if not waiting:
            return
        most = Counter(each._address() for each in waiting)
        longest = min(waiting, key=lambda each: (-most[each._address()], each._waits_until()))
        longest._forget_deadline()
        longest.transport.close()

    def _address(self) -> str:
        return client_of(self.client[0] if self.client else "")

    def _waits_until(self) -> float:
        return math.inf if self._deadline is None else self._deadline.when()

    def _give_up(self) -> None:
        self._deadline = None
        has_begun = bool(self.conn.trailing_data[0])
        if self.conn.their_state is h11.IDLE and has_begun:
            seconds = self._bounds.header_seconds
            self._refuse(Problem(408, "too-slow", f"no whole header came within {seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer what no application sees, where no answer has begun, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            identity = secrets.token_hex(8)
            content = json.dumps(document(problem, "/", identity)).encode()
            headers = [
                ("Content-Type", MEDIA_TYPE),
                ("Content-Length", str(len(content))),
                ("Connection", "close"),
                ("X-Request-Id", identity),
            ]
            reason = STATUS_PHRASES[problem.status]
            answer = h11.Response(status_code=problem.status, headers=headers, reason=reason)
            for event in (answer, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
