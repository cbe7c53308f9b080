"""More open event streams than anybody needs, and clients that take nothing of them."""

import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from automl_api.settings import Settings
from automl_compress.store import ArtifactFiles, Database, events
from tests.api.accounts import OPERATOR_KEY, Person, locked_settings
from tests.api.attacks.conftest import KEY, MEMORY_BYTES, Target
from tests.api.conftest import RunningService, problem, running_service

STREAMS, EVENTS = 200, 600
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def anna(target: Target) -> Generator[Person]:
    """Somebody who has a job at the service that is attacked."""
    settings = Settings(data_dir=target.data_dir)
    database = Database(settings.tables_url)
    files = ArtifactFiles(target.data_dir)
    try:
        seen = RunningService(target.url, settings, database, files, target.http)
        yield Person(seen, "anna").furnish()
    finally:
        database.close()


def unread_stream(url: str, job_id: str, after: int) -> socket.socket:
    """Ask for a stream, of which the kernel takes little for a client that takes nothing."""
    address = httpx.URL(url)
    connection = socket.socket()
    connection.settimeout(300)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.host, address.port or 80))
    head = f"GET /v1/jobs/{job_id}/events?after={after} HTTP/1.1\r\nHost: x\r\n"
    told = f"Authorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n"
    connection.sendall(f"{head}{told}".encode())
    return connection


@pytest.mark.slow
def test_streams_that_nobody_reads_take_little_memory(target: Target, anna: Person) -> None:
    job_id = anna.ids["job_id"]
    with anna.service.database.session() as session:
        for number in range(EVENTS):
            events.append(session, job_id, "log", {"number": number, "x": "x" * 2000})
    before = target.peak_bytes()

    with ExitStack() as stack:
        for after in range(STREAMS):  # of the operator, who may have all places
            connection = stack.enter_context(unread_stream(target.url, job_id, after))
            assert connection.recv(64).startswith(b"HTTP/1.1 200 OK")
        target.assert_serves()

    assert target.peak_bytes() - before < MEMORY_BYTES // 2
    target.assert_serves()


@contextmanager
def streaming(person: Person, address: str) -> Iterator[httpx.Response]:
    headers = {"Authorization": f"Bearer {person.secret}", "X-Forwarded-For": address, **STREAM}
    path = f"/v1/jobs/{person.ids['job_id']}/events"
    with person.service.http.stream("GET", path, headers=headers) as response:
        yield response


def test_one_account_takes_its_share_from_however_many_addresses(tmp_path: Path) -> None:
    settings = locked_settings(tmp_path, max_connections=8, max_connections_per_account=3)
    with running_service(settings) as running, ExitStack() as stack:
        anna, bert = (Person(running, name).furnish() for name in ("anna", "bert"))
        again = Person(running, "anna")  # another key of hers
        for place in range(3):
            opened = stack.enter_context(streaming(anna, f"203.0.113.{place}"))
            assert opened.status_code == 200

        for person in (anna, again):
            refused = person.send("GET", "/v1/jobs", headers={"X-Forwarded-For": "203.0.113.9"})
            told = problem(refused, 429, "rate-limited")["detail"]
            assert told.startswith("3 requests of account 'anna' are being answered")
            assert refused.headers["Retry-After"] == "2"
        assert bert.send("GET", "/v1/jobs").status_code == 200
        operator = {"Authorization": f"Bearer {OPERATOR_KEY}"}
        assert running.http.get("/v1/jobs", headers=operator).status_code == 200
        assert running.http.get("/v1/health").status_code == 200
