"""Keys, scopes, accounts and quotas, against a running service that asks for keys."""

import re
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from automl_api.cli import app
from automl_api.client import Client
from automl_api.jobs import events as job_events
from automl_api.keys.caller import Caller, needed_scope
from automl_api.keys.doorkeeper import Doorkeeper
from automl_compress.core.errors import StorageFailed
from automl_compress.store import JobState, jobs, keys
from tests.api.accounts import OPERATOR_KEY, Person, locked_settings
from tests.api.conftest import RunningService, problem, running_service

BODIES: dict[str, dict[str, Any]] = {
    "patch": {"name": "mine now"},
    "post": {},
}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningService]:
    settings = locked_settings(
        tmp_path_factory.mktemp("locked"),
        max_unfinished_jobs=2,
        max_stored_bytes=2000,
        wrong_keys_per_minute=100,
    )
    with running_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def anna(locked: RunningService) -> Person:
    return Person(locked, "anna").furnish()


@pytest.fixture(scope="module")
def bert(locked: RunningService) -> Person:
    return Person(locked, "bert").furnish()


@pytest.fixture(scope="module")
def boss(locked: RunningService) -> Person:
    return Person(locked, "boss", "admin")


def operations(locked: RunningService) -> list[tuple[str, str]]:
    """Every method and path of the interface."""
    with Client(locked.url, OPERATOR_KEY) as client:
        paths = client.get("/openapi.json")["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


def test_an_administrator_sees_the_things_of_all(
    locked: RunningService, anna: Person, bert: Person, boss: Person
) -> None:
    listed = {each["id"]: each["account"] for each in boss.send("GET", "/v1/jobs").json()["data"]}

    assert listed[anna.ids["job_id"]] == "anna"
    assert listed[bert.ids["job_id"]] == "bert"
    assert boss.send("GET", "/system").status_code == 200
    problem(anna.send("GET", "/v1/keys"), 403, "forbidden")
    assert anna.send("GET", "/system", headers={"Accept": "text/html"}).status_code == 403


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_a_scope_allows_what_it_says_and_no_more(
    locked: RunningService, anna: Person, scope: str
) -> None:
    person = Person(locked, "carla", scope)
    allowed = ("read", "write", "admin")[: ("read", "write", "admin").index(scope) + 1]

    for method, path in operations(locked):
        address = re.sub(r"{(\w+)}", "job_00000000000000000000", path)
        needed = needed_scope(method.upper(), path)
        response = person.send(method, address, json=BODIES.get(method))
        refused = response.status_code == 403 and response.json()["code"] == "forbidden"
        assert refused == (needed not in allowed), (method, path, response.text)


def test_only_a_digest_of_a_key_is_stored(locked: RunningService, boss: Person) -> None:
    made = boss.send("POST", "/v1/keys", json={"account": "dora", "scope": "read"})
    secret, identity = made.json()["key"], made.json()["id"]

    assert made.status_code == 201
    assert "key" not in boss.send("GET", f"/v1/keys/{identity}").json()
    stored = b"".join(each.read_bytes() for each in locked.settings.data_dir.glob("*.sqlite*"))
    assert secret.encode() not in stored
    assert keys.digest_of(secret).encode() in stored
    dora = {"Authorization": f"Bearer {secret}"}
    assert locked.http.get("/v1/me", headers=dora).json()["account"] == "dora"
    problem(locked.http.post("/v1/models", json={}, headers=dora), 403, "forbidden")
    assert boss.send("DELETE", f"/v1/keys/{identity}").status_code == 204
    problem(locked.http.get("/v1/me", headers=dora), 401, "unauthorized")


def test_any_key_opens_a_session_which_ends_with_it(locked: RunningService, boss: Person) -> None:
    eva = Person(locked, "eva")
    headers = {"Origin": locked.url}
    answer = locked.http.post("/sign-in", data={"key": eva.secret}, headers=headers)
    locked.http.cookies.clear()
    cookie = answer.headers["Set-Cookie"].partition(";")[0]

    def status() -> int:
        return locked.http.get("/v1/jobs", headers={"Cookie": cookie}).status_code

    assert eva.secret not in answer.headers["Set-Cookie"]
    assert status() == 200
    left = locked.http.get("/", headers={"Cookie": cookie, "Accept": "text/html"}).text
    assert "Sign out" in left
    boss.send("DELETE", f"/v1/keys/{eva.key_id}")
    assert status() == 401


def test_signing_out_ends_the_session_wherever_the_cookie_is(locked: RunningService) -> None:
    fred = Person(locked, "fred", "read")
    signed = locked.http.post("/sign-in", data={"key": fred.secret})
    locked.http.cookies.clear()
    headers = {"Cookie": signed.headers["Set-Cookie"].partition(";")[0]}

    assert locked.http.get("/v1/jobs", headers=headers).status_code == 200
    assert locked.http.post("/sign-out", headers=headers).status_code == 303
    locked.http.cookies.clear()
    assert locked.http.get("/v1/jobs", headers=headers).status_code == 401


def test_an_account_has_so_many_unfinished_jobs_and_no_more(
    locked: RunningService, model_of: Any
) -> None:
    gina = Person(locked, "gina")
    body = model_of(gina)
    made = [
        gina.send("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": str(each)})
        for each in range(2)
    ]

    refused = gina.send("POST", "/v1/jobs", json=body)
    again = gina.send("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": "1"})

    assert [each.status_code for each in made] == [202, 202]
    told = problem(refused, 429, "queue-full")
    assert (told["unfinished_jobs"], told["limit"]) == (2, 2)
    assert int(refused.headers["Retry-After"]) > 0
    assert again.json()["id"] == made[1].json()["id"], "a repetition takes no place"
    gina.send("POST", f"/v1/jobs/{made[0].json()['id']}/cancel")
    assert gina.send("POST", "/v1/jobs", json=body).status_code == 202
    problem(gina.send("POST", "/v1/jobs", json={**body, "priority": 1}), 403, "forbidden")


def test_the_same_idempotency_key_makes_a_job_of_each_account(
    locked: RunningService, model_of: Any
) -> None:
    made: list[httpx.Response] = []
    for person in (Person(locked, "lina"), Person(locked, "lina.2")):
        body = model_of(person)
        for _ in range(2):
            headers = {"Idempotency-Key": "2/once"}
            made.append(person.send("POST", "/v1/jobs", json=body, headers=headers))

    assert [each.status_code for each in made] == [202] * 4
    first, again, other, other_again = (each.json()["id"] for each in made)
    assert first == again
    assert first != other == other_again


def test_a_request_for_a_key_that_is_sent_again_makes_no_second_one(
    boss: Person,
) -> None:
    def ask(name: str) -> httpx.Response:
        wanted = {"account": "zoe", "scope": "read", "name": name}
        return boss.send("POST", "/v1/keys", json=wanted, headers={"Idempotency-Key": "zoe-1"})

    with ThreadPoolExecutor(3) as pool:
        answers = sorted(pool.map(ask, ["one"] * 3), key=lambda each: each.status_code)
    made = answers[0].json()
    again = ask("one")

    assert [each.status_code for each in answers] == [201, 409, 409]
    assert problem(again, 409, "made-already")["key_id"] == made["id"]
    assert made["key"] not in again.text
    problem(ask("another"), 422, "idempotency-mismatch")
    listed = boss.send("GET", "/v1/keys").json()["data"]
    assert [each["name"] for each in listed if each["account"] == "zoe"] == ["one"]


@pytest.fixture
def model_of(locked: RunningService, digits_model: dict[str, Any]) -> Any:
    """Makes a job's body on a traced network of a person."""

    def make(person: Person) -> dict[str, Any]:
        person.furnish()
        with locked.database.session() as session:
            from automl_compress.store import models

            models.get(session, person.ids["model_id"]).details = digits_model
            jobs.move(session, person.ids["job_id"], JobState.CANCELLED)
        study = {"searcher": "random", "budget": {"ratio": 0.5}, "effort": {"evaluations": 9}}
        ids = {name: person.ids[name] for name in ("model_id", "dataset_id")}
        return {**ids, "study": study}

    return make


@pytest.fixture(scope="module")
def digits_model() -> dict[str, Any]:
    from automl_api.intake import inspect_model
    from automl_api.sources import ModelSource
    from tests.api.conftest import DIGITS_CONFIG

    return inspect_model(ModelSource("resnet-20", DIGITS_CONFIG), Path())


def test_an_account_stores_so_many_bytes_and_no_more(locked: RunningService) -> None:
    hugo = Person(locked, "hugo")
    large = b"PAR1" + bytes(1500) + b"PAR1"

    first = hugo.send("POST", "/v1/files", content=large)
    declared = hugo.send("POST", "/v1/files", content=large + b"PAR1")
    streamed = hugo.send("POST", "/v1/files", content=iter([large, b"PAR1"]))

    assert first.status_code == 201
    for refused in (declared, streamed):
        assert problem(refused, 429, "quota-exceeded")["limit_bytes"] == 2000
    assert hugo.send("GET", "/v1/me").json()["stored_bytes"] == len(large)
    assert hugo.send("DELETE", f"/v1/files/{first.json()['id']}").status_code == 204
    assert not list(locked.settings.data_dir.glob(f"files/{first.json()['sha256']}*"))
    assert hugo.send("POST", "/v1/files", content=large + b"PAR1").status_code == 201


def test_uploads_at_once_do_not_go_beyond_what_an_account_may_store(
    locked: RunningService,
) -> None:
    ivan = Person(locked, "ivan")
    others: list[httpx.Response] = []

    def slowly() -> Iterator[bytes]:
        yield b"PAR1" + bytes(1500)
        while not list(locked.settings.data_dir.glob("partial/*")):
            time.sleep(0.01)
        others.append(ivan.send("POST", "/v1/files", content=b"PAR1" + bytes(1000) + b"PAR1"))
        yield b"PAR1"

    refused = ivan.send("POST", "/v1/files", content=slowly())

    assert [each.status_code for each in others] == [201]
    assert problem(refused, 429, "quota-exceeded")["limit_bytes"] == 2000
    assert ivan.send("GET", "/v1/me").json()["stored_bytes"] == 1008
    assert not list(locked.settings.data_dir.glob("partial/*"))


def test_requests_and_wrong_keys_are_limited(tmp_path: Path) -> None:
    settings = locked_settings(tmp_path, requests_per_minute=5, wrong_keys_per_minute=3)
    with running_service(settings) as running:
        anna, bert = Person(running, "anna"), Person(running, "bert")
        answers = [anna.send("GET", "/v1/me") for _ in range(7)]
        wrong = {"Authorization": "Bearer amc_guess"}
        guesses = [running.http.get("/v1/me", headers=wrong) for _ in range(5)]

        assert [each.status_code for each in answers] == [200] * 5 + [429] * 2
        assert int(answers[-1].headers["Retry-After"]) in range(1, 61)
        problem(answers[-1], 429, "rate-limited")
        assert [each.status_code for each in guesses] == [401] * 3 + [429] * 2
        problem(bert.send("GET", "/v1/me"), 429, "rate-limited")
        operator = {"Authorization": f"Bearer {OPERATOR_KEY}"}
        problem(running.http.get("/v1/me", headers=operator), 429, "rate-limited")
        form = running.http.post("/sign-in", data={"key": "amc_another guess"})
        assert form.status_code == 429
        assert running.http.get("/v1/health").status_code == 200


def test_a_guesser_has_no_second_try_from_the_next_address_of_its_network(tmp_path: Path) -> None:
    def guess(address: str) -> int:
        told = {"Authorization": "Bearer amc_guess", "X-Forwarded-For": address}
        return running.http.get("/v1/me", headers=told).status_code

    with running_service(locked_settings(tmp_path, wrong_keys_per_minute=2)) as running:
        assert [guess(f"2001:db8:0:1::{each}") for each in range(4)] == [401, 401, 429, 429]
        assert guess("2001:db8:0:2::1") == 401
        assert [guess(each) for each in ("203.0.113.7", "::ffff:203.0.113.7")] == [401, 401]
        assert guess("203.0.113.7") == 429


def test_who_was_let_in_before_goes_on_beside_a_guesser(tmp_path: Path) -> None:
    with running_service(locked_settings(tmp_path, wrong_keys_per_minute=2)) as running:
        anna = Person(running, "anna")
        assert anna.send("GET", "/v1/me").status_code == 200
        for each in range(5):
            headers = {"Authorization": f"Bearer amc_{each}"}
            running.http.get("/v1/me", headers=headers)

        assert anna.send("GET", "/v1/me").status_code == 200


def test_keys_are_made_listed_and_revoked_from_the_command_line(locked: RunningService) -> None:
    runner, place = CliRunner(), ["--data-dir", str(locked.settings.data_dir)]

    made = runner.invoke(app, ["keys", "create", "ida", "--scope", "read", *place])
    secret = made.stdout.strip()
    assert str(locked.settings.data_dir) in made.stderr
    with Client(locked.url, secret) as client:
        assert (client.me()["account"], client.me()["scope"]) == ("ida", "read")
    listed = runner.invoke(app, ["keys", "list", *place])
    (line,) = [each for each in listed.stdout.splitlines() if " ida " in each]
    assert secret not in listed.stdout
    assert runner.invoke(app, ["keys", "revoke", line.split()[0], *place]).exit_code == 0
    problem(
        locked.http.get("/v1/me", headers={"Authorization": f"Bearer {secret}"}),
        401,
        "unauthorized",
    )
    wrong = runner.invoke(app, ["keys", "create", "No Such", *place])
    assert "an account cannot be called" in str(wrong.exception)


def test_the_client_makes_and_ends_keys(locked: RunningService) -> None:
    with Client(locked.url, OPERATOR_KEY) as client:
        made = client.create_key("jon", scope="read")
        before = list(client.keys())
        assert made["id"] in [each["id"] for each in before]
        client.revoke_key(made["id"])
        after = list(client.keys())
        (revoked,) = [each for each in after if each["id"] == made["id"]]
    assert revoked["revoked"] is not None


def test_a_stream_ends_when_its_key_is_revoked(
    locked: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "KEEPALIVE_SECONDS", 0.3)
    kim = Person(locked, "kim").furnish()
    path = f"/v1/jobs/{kim.ids['job_id']}/events"
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {kim.secret}"}

    with locked.http.stream("GET", path, headers=headers) as response:
        lines = (line for line in response.iter_lines() if line == ": ping")
        assert len(list(islice(lines, 3))) == 3
        with Client(locked.url, OPERATOR_KEY) as client:
            client.revoke_key(kim.key_id)
        assert len(list(islice(lines, 50))) < 50

    problem(locked.http.get(path, headers=headers), 401, "unauthorized")


def test_a_stream_outlasts_a_database_that_is_away(
    locked: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "KEEPALIVE_SECONDS", 0.3)
    asked: list[Caller] = []

    def away(_: Doorkeeper, caller: Caller) -> bool:
        asked.append(caller)
        raise StorageFailed("the database is gone")

    monkeypatch.setattr(Doorkeeper, "still_admits", away)
    lea = Person(locked, "lea").furnish()
    path = f"/v1/jobs/{lea.ids['job_id']}/events"
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {lea.secret}"}

    with locked.http.stream("GET", path, headers=headers) as response:
        lines = (line for line in response.iter_lines() if line == ": ping")
        assert len(list(islice(lines, 5))) == 5

    assert asked


def test_an_administrator_makes_and_revokes_keys_on_their_page(
    locked: RunningService, boss: Person, anna: Person
) -> None:
    made = boss.send("POST", "/keys", data={"account": "kim", "scope": "read", "name": "<b>"})
    (secret,) = re.findall(r"<code>(amc_[^<]+)</code>", made.text)
    kim = {"Authorization": f"Bearer {secret}"}
    identity = locked.http.get("/v1/me", headers=kim).json()["key_id"]

    listed = boss.send("GET", "/keys").text
    assert secret not in listed
    assert "&lt;b&gt;" in listed
    assert boss.send("POST", f"/keys/{identity}/revoke").status_code == 303
    problem(locked.http.get("/v1/me", headers=kim), 401, "unauthorized")
    assert boss.send("POST", "/keys", data={"account": "No Such"}).status_code == 422
    assert 'href="./keys"' in boss.send("GET", "/").text
    assert 'href="./keys"' not in anna.send("GET", "/").text
    problem(anna.send("POST", "/keys", data={"account": "kim"}), 403, "forbidden")
