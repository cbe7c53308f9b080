"""Clients that keep the service waiting, and more of them than there is room for."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import httpx
import pytest

from automl_api import arriving, serving
from automl_api.connections import connections_within
from automl_api.jobs import events as job_events
from automl_api.settings import Settings
from automl_compress.core.errors import InvalidInput
from automl_compress.store import artifacts
from automl_compress.store.artifacts import NewArtifact
from tests.api.accounts import Person
from tests.api.conftest import RunningService, problem, running_service

HALF_A_HEADER = b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
DESCRIPTORS = 320  # so that 32 connections are the most


def connected(url: str) -> socket.socket:
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port or 80), timeout=60)


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the service closes; the test's own limit is a minute."""
    try:
        return b"".join(iter(lambda: connection.recv(65536), b""))
    except ConnectionResetError:
        return b""


@contextmanager
def served(**settings: object) -> Iterator[RunningService]:
    with running_service(Settings.model_validate(settings)) as running:
        yield running


@pytest.fixture(scope="module")
def small_process(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a service whose process may open few files, half of them by its soft limit."""
    command = [sys.executable, "-m", "automl_api.cli", "serve", "--port", "0", "--no-worker"]
    child = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path_factory.mktemp("small"))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "AUTOML_COMPRESS_HEADER_SECONDS": "3"},
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (DESCRIPTORS // 2, DESCRIPTORS)
        ),
    )
    assert child.stdout is not None
    try:
        yield child.stdout.readline().split()[-1]
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


@pytest.mark.slow
def test_hundreds_of_half_headers_keep_nobody_out_and_are_closed(small_process: str) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        held = [stack.enter_context(connected(small_process)) for _ in range(2 * DESCRIPTORS)]
        for connection in held:
            try:
                connection.sendall(HALF_A_HEADER)
            except OSError:  # it had to make room already
                continue
        with httpx.Client(base_url=small_process, trust_env=False, timeout=60) as caller:
            assert caller.get("/v1/jobs").status_code == 200

        answers = [rest_of(connection) for connection in held]
    assert time.monotonic() - began < 60
    told = [each for each in answers if each]
    assert all(each.startswith(b"HTTP/1.1 408") for each in told)
    assert all(b"too-slow" in each for each in told)


def test_a_header_that_drips_is_cut_off(tmp_path: Path) -> None:
    with served(data_dir=tmp_path, header_seconds=0.5) as running:
        with connected(running.url) as connection:
            connection.sendall(HALF_A_HEADER)
            connection.settimeout(0.05)
            answer = b""
            while not answer:
                try:
                    connection.sendall(b"x")
                    answer = connection.recv(65536)
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        with connected(running.url) as silent:
            assert rest_of(silent) == b""


def test_a_body_that_is_answered_already_does_not_hold_the_connection(tmp_path: Path) -> None:
    with served(data_dir=tmp_path, header_seconds=0.5) as running, ExitStack() as stack:
        connection = stack.enter_context(connected(running.url))
        head = b"POST /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 405")
        connection.settimeout(0.05)
        is_open = True
        while is_open:
            try:
                connection.sendall(b"x")
                is_open = bool(connection.recv(65536))
            except TimeoutError:
                continue
            except OSError:
                is_open = False


@pytest.mark.slow
def test_an_upload_that_goes_on_slowly_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arriving, "PATIENCE_SECONDS", 3.0)
    monkeypatch.setattr(arriving, "LEAST_BYTES", 4)
    content = b"PAR1" + bytes(24) + b"PAR1"

    def slowly() -> Iterator[bytes]:
        for at in range(0, len(content), 4):
            time.sleep(0.5)
            yield content[at : at + 4]

    with served(data_dir=tmp_path, header_seconds=1.0) as running:
        began = time.monotonic()
        answer = running.http.post("/v1/files", content=slowly())
        seconds = time.monotonic() - began

    assert answer.status_code == 201, answer.text
    assert seconds > 3.0


def test_an_upload_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "PATIENCE_SECONDS", 1.0)
    with served(data_dir=tmp_path) as running, connected(running.url) as connection:
        head = b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head)
        connection.settimeout(0.05)
        answer = b""
        while not answer:  # never silent for as long as it may
            try:
                connection.sendall(b"x")
                answer = connection.recv(65536)
            except TimeoutError:
                continue

    assert answer.startswith(b"HTTP/1.1 408")


def test_requests_beyond_the_most_are_refused_but_health_answers(tmp_path: Path) -> None:
    with served(data_dir=tmp_path, max_connections=3) as running, ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connected(running.url))
            head = b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n"
            connection.sendall(head + b"x")
        _wait(lambda: len(list(tmp_path.glob("partial/*"))) == 3)
        refused = running.http.get("/v1/jobs")

        problem(refused, 503, "crowded")
        assert refused.headers["Retry-After"] == "2"
        assert running.http.get("/v1/health").status_code == 200
        stack.close()
        _wait(lambda: running.http.get("/v1/jobs").status_code == 200)


def uploading(url: str, address: str) -> socket.socket:
    """A request that stays at work, from an address that the proxy on this machine names."""
    connection = connected(url)
    head = f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: {address}\r\n"
    connection.sendall(f"{head}Content-Length: 9\r\n\r\nx".encode())
    return connection


@pytest.mark.parametrize(
    ("theirs", "same", "other"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::2"),
    ],
)
def test_one_address_takes_its_share_and_leaves_the_rest(
    tmp_path: Path, theirs: str, same: str, other: str
) -> None:
    def begun(count: int) -> Callable[[], bool]:
        return lambda: len(list(tmp_path.glob("partial/*"))) == count

    settings = {"max_connections": 8, "max_connections_per_address": 3}
    with served(data_dir=tmp_path, **settings) as running, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(uploading(running.url, theirs))
        _wait(begun(3))

        def asked(address: str, path: str = "/v1/jobs") -> httpx.Response:
            return running.http.get(path, headers={"X-Forwarded-For": address})

        refused = asked(same)
        told = problem(refused, 429, "rate-limited")["detail"]
        assert told.startswith("3 requests from your address are being answered")
        assert refused.headers["Retry-After"] == "2"
        assert asked(same, "/v1/health").status_code == 200
        assert asked(other).status_code == 200
        for _ in range(4):  # this machine itself has no share
            stack.enter_context(uploading(running.url, "127.0.0.1"))
        _wait(begun(7))
        assert asked("::1").status_code == 200
        stack.close()
        _wait(lambda: asked(same).status_code == 200)


def test_a_share_leaves_a_quarter_to_others_however_it_is_set(tmp_path: Path) -> None:
    with served(data_dir=tmp_path, max_connections=4) as running, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(uploading(running.url, "203.0.113.7"))
        _wait(lambda: len(list(tmp_path.glob("partial/*"))) == 3)
        headers = {"X-Forwarded-For": "203.0.113.7"}

        problem(running.http.get("/v1/jobs", headers=headers), 429, "rate-limited")
        assert running.http.get("/v1/jobs").status_code == 200


def test_the_address_that_keeps_most_waiting_makes_room(tmp_path: Path) -> None:
    settings = {"data_dir": tmp_path, "max_connections": 3, "header_seconds": 600}
    with served(**settings) as running, ExitStack() as stack:
        address = httpx.URL(running.url)
        target = (address.host, address.port or 80)
        waiting = stack.enter_context(connected(running.url))  # for longer than all others
        for _ in range(100):
            stack.enter_context(socket.create_connection(target, 60, ("127.0.0.9", 0)))
        assert running.http.get("/v1/jobs").status_code == 200
        waiting.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

        assert waiting.recv(65536).startswith(b"HTTP/1.1 200")


def _wait(has_come: Callable[[], bool]) -> None:
    for _ in range(1200):
        if has_come():
            return
        time.sleep(0.05)
    pytest.fail("it did not come in a minute")


def test_a_connection_that_says_nothing_makes_room_for_one_that_does(tmp_path: Path) -> None:
    settings = {"data_dir": tmp_path, "max_connections": 3, "header_seconds": 600}
    with served(**settings) as running, ExitStack() as stack:
        silent = [stack.enter_context(connected(running.url)) for _ in range(100)]
        assert running.http.get("/v1/jobs").status_code == 200

        assert all(rest_of(each) == b"" for each in silent[: 100 - 67])


def test_streams_stay_for_longer_than_a_header_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "KEEPALIVE_SECONDS", 0.3)
    with served(data_dir=tmp_path, header_seconds=0.5) as running:
        path = f"/v1/jobs/{Person(running, '').furnish().ids['job_id']}/events"
        headers = {"Accept": "text/event-stream"}
        with running.http.stream("GET", path, headers=headers) as response:
            signs = (line for line in response.iter_lines() if line == ": ping")
            assert len(list(islice(signs, 5))) == 5


def test_who_takes_nothing_of_an_answer_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "UNREAD_SECONDS", 1.0)
    with served(data_dir=tmp_path, max_connections=1) as running:
        person = Person(running, "").furnish()
        written = running.files.write("artifacts/large", [bytes(2**20)] * 32)
        with running.database.session() as session:
            new = NewArtifact(person.ids["job_id"], "large", "network", "application/octet-stream")
            row = artifacts.put(session, new, written)
        with connected(running.url) as connection:
            head = f"GET /v1/artifacts/{row.id}/content HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            connection.sendall(head.encode())
            _wait(lambda: running.http.get("/v1/jobs").status_code == 503)

            _wait(lambda: running.http.get("/v1/jobs").status_code == 200)


def test_a_request_of_no_protocol_is_answered_by_a_problem(tmp_path: Path) -> None:
    with served(data_dir=tmp_path) as running, connected(running.url) as connection:
        connection.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
        head, _, content = rest_of(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert b'"code": "malformed"' in content


def test_connections_keep_within_what_the_process_may_open() -> None:
    assert connections_within(Settings(), 20_000) == 512
    assert connections_within(Settings(), 1024) == 384
    assert connections_within(Settings(max_connections=5), 1024) == 5
    with pytest.raises(InvalidInput, match="at least 288; raise the limit"):
        connections_within(Settings(), 256)
