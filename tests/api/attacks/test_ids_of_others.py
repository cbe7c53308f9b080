"""An account that knows every id of another one, and tries each wherever an id can stand."""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from automl_api.dashboard import comparing_pages, endpoints, keys_page, points, registered_pages
from automl_compress.store import policies
from automl_compress.store.accounts import Account
from tests.api.accounts import DOCUMENT, Person, locked_settings
from tests.api.conftest import RunningService, problem, running_service
from tests.api.interface import (
    PLACEHOLDER,
    Interface,
    Operation,
    filled,
    interface_of,
    is_id,
    kind_of,
)
from tests.fakes import residual_graph
from tests.latency_times import table_of

Ids = Mapping[str, str]
PAGES = (comparing_pages, endpoints, keys_page, points, registered_pages)
PAGE = {"Accept": "text/html"}
# What a request may ask besides; each could be answered before anybody looks whose the id is.
ASKED_BESIDES = {
    "If-Match": "*",
    "If-None-Match": "*",
    "Accept": "text/event-stream, application/json",
    "Last-Event-ID": "1",
    "Range": "bytes=0-1",
    "Prefer": "wait=1",
    "Idempotency-Key": "of both",
}
ROWS = ("job_id", "policy_id", "file_id")  # behind which a page of a list may begin
OF_OPERATORS = ("/v1/keys", "/keys")


@dataclass(frozen=True)
class Intruder:
    """An account, the ids of another one, and ids like those that nothing has."""

    person: Person
    other: Ids
    unknown: Ids

    def learns_nothing(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask for what another has and for what nobody has; return the answer, which is one.

        Args:
            method: of HTTP.
            path: with the kinds of ids in braces; so are those in the options.
            options: what else is sent, as JSON values.
        """
        told = [self._answer(method, path, ids, options) for ids in (self.other, self.unknown)]
        assert told[0][1:] == told[1][1:], (method, path, options)
        return told[0][0]

    def _answer(
        self, method: str, path: str, ids: Ids, options: Mapping[str, Any]
    ) -> tuple[httpx.Response, int, dict[str, str], str]:
        sent = json.dumps(options)
        for kind, identity in ids.items():
            sent = sent.replace(f"{{{kind}}}", identity)
        response = self.person.send(method, filled(path, ids), **json.loads(sent))
        headers = {name: value for name, value in response.headers.items() if name != "date"}
        content = response.text.replace(headers.pop("x-request-id"), "REQUEST")
        for kind, identity in ids.items():
            content = content.replace(identity, kind)
        return response, response.status_code, headers, content

    def paths_to_another(self, path: str) -> list[str]:
        """Return a path with one's own ids at all choices of its places but at none."""
        names = PLACEHOLDER.findall(path)
        own = [(f"{{{name}}}", filled(f"{{{name}}}", self.person.ids)) for name in names]
        parts = PLACEHOLDER.sub("{}", path)
        return [parts.format(*choice) for choice in product(*own)][:-1]

    def own(self, path: str) -> str:
        """Return a path with one's own ids."""
        return filled(path, self.person.ids)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningService]:
    settings = locked_settings(tmp_path_factory.mktemp("shared"), requests_per_minute=100_000)
    with running_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def bert(locked: RunningService) -> Person:
    return Person(locked, "bert").furnish()


@pytest.fixture(scope="module")
def anna(locked: RunningService) -> Person:
    return Person(locked, "anna").furnish()


@pytest.fixture(scope="module")
def intruder(anna: Person, bert: Person) -> Intruder:
    unknown = {kind: f"{identity[:-3]}000" for kind, identity in bert.ids.items()}
    return Intruder(anna, bert.ids, unknown)


@pytest.fixture(scope="module")
def interface(locked: RunningService, anna: Person) -> Interface:
    return interface_of(locked, anna.ids)


@pytest.fixture(scope="module", autouse=True)
def untouched(bert: Person, interface: Interface) -> Generator[None]:
    """Whatever is tried here, the other account finds everything as it was."""
    seen = everything_of(bert, interface)
    assert all(identity in str(seen) for kind, identity in bert.ids.items() if kind != "key_id")
    yield
    assert everything_of(bert, interface) == seen


def everything_of(person: Person, interface: Interface) -> dict[str, tuple[int, str]]:
    """Read all that an account can read of its own."""
    seen: dict[str, tuple[int, str]] = {}
    for operation in readable(interface):
        query = {"job": person.ids["job_id"]} if operation.path == "/v1/compare" else {}
        path = filled(operation.path, person.ids)
        response = person.send("GET", path, params=query)
        request_id = response.headers["X-Request-Id"]
        seen[path] = response.status_code, response.text.replace(request_id, "REQUEST")
    return seen


def readable(interface: Interface) -> list[Operation]:
    """Return what gives an account's own things."""
    nouns = ("files", "models", "datasets", "targets", "jobs", "trials", "policies", "artifacts")
    own = tuple(f"/v1/{noun}" for noun in (*nouns, "compare"))
    return [
        each
        for each in interface.operations()
        if each.method == "get" and each.path.startswith(own)
    ]


def pages() -> list[str]:
    routes = [route for each in PAGES for route in each.router.routes]
    return [each.path for each in routes if isinstance(each, APIRoute)]


def test_an_id_of_another_is_not_found_at_any_path(
    intruder: Intruder, interface: Interface
) -> None:
    operations = [each for each in interface.operations() if each.has_ids]
    assert len(operations) > 35

    for operation, headers in product(operations, ({}, ASKED_BESIDES)):
        body = interface.body(operation)
        for path in intruder.paths_to_another(operation.path):
            answer = intruder.learns_nothing(operation.method, path, json=body, headers=headers)
            if path.startswith(OF_OPERATORS):
                problem(answer, 403, "forbidden")
            else:
                problem(answer, 404, "not-found")


def test_no_other_method_finds_an_id_of_another(intruder: Intruder, interface: Interface) -> None:
    for path in {each.path for each in interface.operations() if each.has_ids}:
        for method in ("HEAD", "PUT"):
            answer = intruder.learns_nothing(method, path, json={})
            assert answer.status_code in (403, 404, 405, 422), (method, path)


def test_an_id_of_another_is_not_found_on_any_page(intruder: Intruder) -> None:
    paths = [each for each in pages() if "{" in each]
    assert len(paths) >= 7

    for path, method in product(paths, ("GET", "POST")):
        query = {"other": intruder.person.ids["policy_id"]} if path.endswith("/diff") else {}
        for headers in (PAGE, {"Accept": "*/*", "X-Part": "live"}):
            answer = intruder.learns_nothing(method, path, headers=headers, params=query)
            assert answer.status_code in (403, 404, 405), (method, path)


def test_an_id_of_another_in_a_query_finds_nothing(
    intruder: Intruder, interface: Interface
) -> None:
    named = [
        (operation, name, kind)
        for operation in readable(interface)
        for name in operation.query
        if name == "after" or is_id(name)
        for kind in (ROWS if name == "after" else (kind_of(name),))
    ]
    assert {"after", "job", "model_id", "search_id"} <= {name for _, name, _ in named}

    for operation, name, kind in named:
        for order in ({}, {"sort": "state"}) if "sort" in operation.query else ({},):
            query = {name: f"{{{kind}}}", **order}
            answer = intruder.learns_nothing("GET", intruder.own(operation.path), params=query)
            assert answer.status_code in (200, 404, 422)
            if name != "after" and answer.status_code == 200:
                assert answer.json()["data"] == [], (operation.path, query)


def test_an_id_of_another_beside_one_s_own_finds_nothing(intruder: Intruder) -> None:
    own = intruder.person.ids["job_id"]
    for path, jobs in product(("/compare", "/v1/compare"), ([own, "{job_id}"], ["{job_id}", own])):
        answer = intruder.learns_nothing("GET", path, params={"job": jobs}, headers=PAGE)
        assert answer.status_code == 404
    diff = intruder.own("/policies/{policy_id}/diff")
    answer = intruder.learns_nothing("GET", diff, params={"other": "{policy_id}"}, headers=PAGE)
    assert answer.status_code == 404


def test_an_id_of_another_in_a_body_finds_nothing(intruder: Intruder, interface: Interface) -> None:
    bodies = [
        (operation, name, body)
        for operation in interface.operations()
        for name, body in interface.bodies_with_ids(operation)
    ]
    assert {"weights_file_id", "test_file_id", "target"} <= {name for _, name, _ in bodies}

    for operation, name, body in bodies:
        headers, path = {"Idempotency-Key": "of both"}, intruder.own(operation.path)
        answer = intruder.learns_nothing(operation.method, path, json=body, headers=headers)
        assert answer.status_code in (404, 422), (path, name, answer.text)


@pytest.mark.parametrize(
    "study",
    [
        {"target": "{target_id}"},
        {"searcher": "agmc", "searcher_options": {"transfer_from": "{file_id}"}},
        {"searcher": "agmc", "searcher_options": {"transfer_from": "{artifact_id}"}},
        {"recipe": {"weights": "pruning_net", "pruning_net": {"artifact_id": "{artifact_id}"}}},
    ],
    ids=str,
)
def test_an_id_of_another_in_what_a_copy_changes_finds_nothing(
    intruder: Intruder, study: dict[str, Any]
) -> None:
    path = intruder.own("/v1/jobs/{job_id}/clone")

    assert intruder.learns_nothing("POST", path, json={"study": study}).status_code == 422


def test_a_policy_that_names_the_job_of_another_tells_nothing_of_it(
    locked: RunningService, intruder: Intruder
) -> None:
    told: list[str] = []
    for ids in (intruder.other, intruder.unknown):
        document = {**DOCUMENT.to_json(), "provenance": {"job_id": ids["job_id"]}}
        with locked.database.of(Account("anna", sees_all=False)).session() as session:
            row = policies.add(session, document, model_id=intruder.person.ids["model_id"])
        text = intruder.person.send("GET", f"/policies/{row.id}", headers=PAGE).text
        told.append(text.replace(row.id, "POLICY").replace(ids["job_id"], "JOB"))
        assert intruder.person.send("DELETE", f"/v1/policies/{row.id}").status_code == 204

    assert "Apply it" in told[0]
    assert told[0] == told[1]


def test_an_idempotency_key_of_another_gives_only_what_is_one_s_own(
    anna: Person, bert: Person
) -> None:
    path, headers = "/v1/targets", {"Idempotency-Key": "of both"}
    body = {"name": "camera", "latency_table": table_of(residual_graph()).to_json()}

    first, second = (each.send("POST", path, json=body, headers=headers) for each in (bert, anna))
    again = anna.send("POST", path, json=body, headers=headers)
    other = anna.send("POST", path, json={**body, "name": "other"}, headers=headers)

    identity = first.json()["id"]
    assert bert.send("DELETE", f"{path}/{identity}").status_code == 204
    assert [first.status_code, second.status_code] == [201, 201]
    assert again.json() == second.json() != first.json()
    problem(other, 422, "idempotency-mismatch")
    assert identity not in second.text + other.text


def test_the_same_bytes_are_a_file_of_each_and_stay_with_whoever_keeps_them(
    locked: RunningService, anna: Person, bert: Person
) -> None:
    def stored() -> int:
        return len(list(locked.settings.data_dir.glob(f"files/{first.json()['sha256']}*")))

    content = b"PAR1" + b"of both" + b"PAR1"
    first, second = (each.send("POST", "/v1/files", content=content) for each in (bert, anna))
    told = (first.status_code, second.status_code, stored())
    deleted = anna.send("DELETE", f"/v1/files/{second.json()['id']}").status_code

    assert told == (201, 201, 1), "nobody learns that the bytes were there"
    assert first.json()["id"] != second.json()["id"]
    assert (deleted, stored()) == (204, 1)
    assert bert.send("DELETE", f"/v1/files/{first.json()['id']}").status_code == 204
    assert stored() == 0


def test_lists_and_pages_show_nothing_of_another(intruder: Intruder, interface: Interface) -> None:
    listed = [each.path for each in interface.operations() if each.method == "get"]

    for path in (each for each in (*listed, *pages()) if "{" not in each):
        query = {"job": intruder.person.ids["job_id"]} if path.endswith("compare") else {}
        text = intruder.person.send("GET", path, params=query, headers=PAGE).text
        assert not [kind for kind, identity in intruder.other.items() if identity in text], path
        assert "bert" not in text, path
