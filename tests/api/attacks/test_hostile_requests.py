"""Requests that were made to harm, sent to a running service."""

import json
import socket
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from automl_api import arriving
from tests.api.accounts import locked_settings
from tests.api.attacks.conftest import KEY, Target
from tests.api.conftest import RunningService, problem, running_service

JSON = {"Content-Type": "application/json"}


def connected(target: Target) -> socket.socket:
    address = httpx.URL(target.url)
    return socket.create_connection((address.host, address.port or 80), timeout=30)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"name":' * 100_000,
        b'{"name": ' * 500 + b"1" + b"}" * 500,
        b'{"name": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"name": "a", "name": "b"}',
        b'{"name": "x", "architecture": {"name": "resnet-20", "config": {"a": 1, "a": 2}}}',
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b'{"name": ' + b"9" * 10_000 + b"}",
        b'{"name": "\xff\xfe"}',
        b"\x00" * 1000,
        b"{}{}",
        b'{"name": 1e999999}' * 2,
    ],
    ids=lambda body: str(body[:24]),
)
def test_what_is_no_plain_json_is_malformed(target: Target, body: bytes) -> None:
    problem(target.http.post("/v1/models", content=body, headers=JSON), 400, "malformed")
    target.assert_serves()


def test_a_name_that_stands_twice_is_found_among_hundreds_of_thousands(target: Target) -> None:
    names = [f'"a{number}":1' for number in range(280_000)]
    body = f"{{{','.join([*names, names[-1]])}}}".encode()

    told = problem(target.http.post("/v1/models", content=body, headers=JSON), 400, "malformed")

    assert "the member 'a279999' stands twice" in told["detail"]
    target.assert_serves()


@pytest.mark.parametrize(
    "body",
    [
        {"name": "\ud800"},
        {"name": "a\x00b"},
        {"name": "x" * 1_000_000},
        {"name": {"$gt": ""}},
        {"name": "x", "architecture": {"name": "../../etc/passwd"}},
        {"name": "x", "architecture": {"name": "os:system"}},
        {"name": "x", "weights_file_id": "../../../etc/passwd"},
        {
            "name": "x",
            "architecture": {"name": "resnet-20", "config": {str(n): n for n in range(99)}},
        },
        {"name": "x", "__class__": "Payload"},
    ],
    ids=lambda body: str(body)[:40],
)
def test_bodies_that_mean_something_else_are_refused(target: Target, body: dict[str, Any]) -> None:
    answer = target.http.post("/v1/models", content=json.dumps(body), headers=JSON)

    assert answer.status_code == 422, answer.text
    assert len(answer.content) < 10_000, "what came is not sent back at length"
    target.assert_serves()


def test_a_space_of_more_groups_than_any_network_has_is_refused(target: Target) -> None:
    space = {"fix": {f"a{number}": 0.5 for number in range(200_000)}}
    study = {"budget": {"ratio": 0.5}, "effort": {"evaluations": 1}, "space": space}
    body = {"model_id": f"mdl_{0:020}", "dataset_id": f"dat_{0:020}", "study": study}

    refused = problem(target.http.post("/v1/jobs", json=body), 422, "invalid")

    assert refused["errors"][0]["pointer"] == "/study/space/fix"
    target.assert_serves()


def test_thousands_of_unknown_names_are_not_all_answered(target: Target) -> None:
    many = {f"a{number}": 1 for number in range(50_000)}
    first = dict(list(many.items())[:5000])

    body = problem(target.http.post("/v1/models", json={"name": "x", **many}), 422, "invalid")
    query = problem(target.http.get("/v1/jobs", params=first), 422, "invalid")

    assert len(body["errors"]) == 100
    assert "and 49999 more" in body["detail"]
    assert len(query["errors"]) == 20
    target.assert_serves()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static/..%5c..%5capp.py",
        "/static//etc/passwd",
        "/v1/artifacts/..%2f..%2fautoml-compress.sqlite/content",
        "/v1/jobs/%00",
        "/v1/files/' OR 1=1 --",
        "/v1/jobs/" + "x" * 10_000,
        "/v1/jobs?after=%00",
    ],
)
def test_no_path_leads_out(target: Target, path: str) -> None:
    with connected(target) as connection:
        head = (
            f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        )
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.split()[1] in (b"404", b"422", b"400"), answer[:200]
    assert b"root:" not in answer
    assert b"SQLite format" not in answer


@pytest.mark.parametrize(
    "lines",
    [
        [b"X-Long: " + b"x" * 500_000],
        [b"X-%d: y" % each for each in range(20_000)],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: -1"],
        [b"Content-Length: 99999999999999999999"],
        [b"Host: one", b"Host: two"],
        [b"Bad Header: x"],
        [b"X-Request-Id: a\x0bSet-Cookie: b"],
        [b"Authorization: Bearer " + b"\xff" * 100],
        [b"Range: bytes=" + b",".join(b"%d-" % each for each in range(5000))],
    ],
    ids=lambda lines: str(lines[0][:30]),
)
def test_headers_that_were_made_to_confuse_close_the_door(
    target: Target, lines: list[bytes]
) -> None:
    with connected(target) as connection:
        head = b"POST /v1/models HTTP/1.1\r\nHost: x\r\n" + b"\r\n".join(lines)
        try:
            connection.sendall(head + b"\r\nConnection: close\r\n\r\nhello")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:  # closed while it was sent
            answer = b""

    assert answer == b"" or answer.split()[1][:1] == b"4", answer[:200]
    assert b"Set-Cookie: b" not in answer
    target.assert_serves()


def test_a_page_of_another_site_changes_nothing_with_a_stolen_look_at_the_cookie(
    target: Target,
) -> None:
    with httpx.Client(base_url=target.url, trust_env=False) as browser:
        signed = browser.post("/sign-in", data={"key": KEY}, headers={"Origin": target.url})
        assert signed.status_code == 303
        for told in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            problem(browser.post("/v1/keys", json={"account": "x"}, headers=told), 403, "forbidden")
        same = {"Sec-Fetch-Site": "same-origin"}
        assert browser.post("/v1/keys", json={"account": "x"}, headers=same).status_code == 201


def test_a_colliding_idempotency_key_is_refused_and_a_replayed_one_makes_nothing(
    target: Target,
) -> None:
    def send(name: str) -> httpx.Response:
        body = {"name": name, "source": {"kind": "builtin", "name": "digits"}}
        headers = {"Idempotency-Key": "once"}
        return target.http.post("/v1/datasets", json=body, headers=headers)

    with ThreadPoolExecutor(2) as pool:
        first, at_once = pool.map(send, ["digits", "digits"])
    again, other = send("digits"), send("another")

    assert {each.json()["id"] for each in (first, at_once, again)} == {first.json()["id"]}
    assert again.json() == first.json()
    problem(other, 422, "idempotency-mismatch")


def test_slow_clients_keep_nobody_waiting(target: Target) -> None:
    head = f"POST /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
    with ExitStack() as open_connections:
        for each in range(200):
            connection = open_connections.enter_context(connected(target))
            body = b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            connection.sendall(head + (body if each % 2 else b"X-Slow: "))

        assert target.http.get("/v1/health").status_code == 200
        target.assert_serves()


def test_who_guesses_keys_is_soon_not_heard(target: Target) -> None:
    with httpx.Client(base_url=target.url, trust_env=False) as guesser:
        guesses = [
            guesser.get("/v1/jobs", headers={"Authorization": f"Bearer amc_{each}"})
            for each in range(8)
        ]

    told = [each.status_code for each in guesses]
    assert told == sorted(told)
    assert told.count(401) <= 5  # fewer where another attack has guessed before
    assert told.count(429) >= 3
    assert guesses[-1].headers["Retry-After"].isdigit()
    target.assert_serves()


@pytest.fixture
def impatient(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Generator[RunningService]:
    monkeypatch.setattr(arriving, "PATIENCE_SECONDS", 0.2)
    with running_service(locked_settings(tmp_path_factory.mktemp("impatient"))) as running:
        yield running


def test_a_body_that_does_not_go_on_is_given_up(impatient: RunningService) -> None:
    address = httpx.URL(impatient.url)
    head = "POST /v1/{} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the operator's own key\r\n"
    for path in ("models", "files"):
        with socket.create_connection((address.host, address.port or 80), 30) as connection:
            rest = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            connection.sendall((head.format(path) + rest).encode())

            assert connection.recv(10_000).startswith(b"HTTP/1.1 408")
    assert not list(impatient.settings.data_dir.glob("partial/*"))
