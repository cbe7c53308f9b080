"""Other names for networks and data sets, under the tag of what was seen."""

from typing import Any

import pytest
from typer.testing import CliRunner

from automl_api.cli import app
from tests.api.conftest import RunningService, problem


@pytest.fixture(params=["models", "datasets"])
def place(request: pytest.FixtureRequest, model: dict[str, Any], dataset: dict[str, Any]) -> str:
    return f"/v1/{request.param}/{(model if request.param == 'models' else dataset)['id']}"


def test_a_new_name_needs_the_tag_of_what_was_seen(service: RunningService, place: str) -> None:
    seen = service.http.get(place)
    tag = {"If-Match": seen.headers["ETag"]}

    without = service.http.patch(place, json={"name": "new"})
    changed = service.http.patch(place, json={"name": "new"}, headers=tag)
    late = service.http.patch(place, json={"name": "newer"}, headers=tag)

    problem(without, 428, "needs-if-match")
    assert changed.status_code == 200, changed.text
    assert changed.json() == {**seen.json(), "name": "new"}
    problem(late, 412, "changed")
    again = service.http.get(place)
    assert again.json()["name"] == "new"
    assert again.headers["ETag"] == changed.headers["ETag"] != seen.headers["ETag"]
    listed = service.http.get(place.rpartition("/")[0], params={"text": "new"}).json()["data"]
    assert place.endswith(listed[0]["id"])
    assert "data-rename" in service.http.get(place.removeprefix("/v1")).text


def test_what_is_no_name_is_refused(service: RunningService, place: str) -> None:
    for body in ({}, {"name": ""}, {"name": "x" * 201}, {"name": None}, {"name": "a", "tags": {}}):
        answer = service.http.patch(place, json=body, headers={"If-Match": "*"})
        assert problem(answer, 422, "invalid")["errors"]
    missing = service.http.patch("/v1/models/mdl_0", json={"name": "x"}, headers={"If-Match": "*"})
    problem(missing, 404, "not-found")


def test_names_are_changed_from_the_command_line(service: RunningService, place: str) -> None:
    noun, identity = place.split("/")[2:]

    done = CliRunner().invoke(app, [noun, "rename", identity, "by hand", "--url", service.url])

    assert done.exit_code == 0, done.exception
    assert service.http.get(place).json()["name"] == "by hand"
