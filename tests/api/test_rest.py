"""Changing, copying, estimating, comparing, deleting and fetching, over HTTP and by the client."""

import hashlib
import json
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from automl_api import transfers
from automl_api.cli import app
from automl_api.client import Client, ProblemError
from automl_api.engine.system import system_url
from automl_api.files.digests import digest_header
from automl_compress.core.errors import StorageFailed
from automl_compress.store import JobState, artifacts, jobs
from automl_compress.store.artifacts import NewArtifact
from tests.api.accounts import Person
from tests.api.conftest import RunningService, job_body, problem
from tests.api.dashboard_pages import store_trials

Made = dict[str, Any]


@pytest.fixture(scope="module")
def person(service: RunningService) -> Person:
    """The things of a finished job, in a service that asks for no key."""
    return Person(service, "anna").furnish()


def submit(service: RunningService, model: Made, dataset: Made, **more: Any) -> Made:
    answer = service.post("/v1/jobs", job_body(model, dataset) | more)
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_change_needs_the_version_that_it_changes(
    service: RunningService, model: Made, dataset: Made
) -> None:
    job = submit(service, model, dataset)
    path = f"/v1/jobs/{job['id']}"
    seen = service.http.get(path).headers["ETag"]

    def change(tag: str | None, **changes: Any) -> Any:
        headers = {} if tag is None else {"If-Match": tag}
        return service.http.patch(path, json=changes, headers=headers)

    problem(change(None, name="new"), 428, "needs-if-match")
    changed = change(seen, name="new", priority=7, effort={"evaluations": 25})
    problem(change(seen, name="newer"), 412, "changed")

    assert changed.status_code == 200, changed.text
    told = changed.json()
    assert (told["name"], told["priority"]) == ("new", 7)
    assert told["study"]["effort"]["evaluations"] == 25
    assert told["progress"]["evaluations_limit"] == 25
    assert changed.headers["ETag"] != seen
    assert change("*", tags={"a": "b"}).json()["tags"] == {"a": "b"}
    kinds = [each["type"] for each in service.http.get(f"{path}/events").json()["data"]]
    assert kinds.count("job.changed") == 2
    problem(change("*", effort={"evaluations": 0}), 422, "invalid")


def test_a_waiting_job_moves_in_the_queue_by_its_new_priority(
    service: RunningService, model: Made, dataset: Made
) -> None:
    job_id = submit(service, model, dataset)["id"]
    with service.client() as client:
        client.job(job_id).change(priority=7)
        client.job(job_id).change(priority=7)
        client.job(job_id).change(name="same place")

    assert queued_priorities(service, job_id) == [101, 94]
    with service.database.reading() as session:
        assert jobs.get(session, job_id).attempt == 2


def queued_priorities(service: RunningService, job_id: str) -> list[int]:
    """Of the attempts at a job in the queue, of which the lowest number is taken first."""
    with closing(sqlite3.connect(system_url(service.settings).database or "")) as connection:
        query = "SELECT priority FROM workflow_status WHERE workflow_uuid LIKE ? ORDER BY 1 DESC"
        return [priority for (priority,) in connection.execute(query, (f"{job_id}.%",))]


def test_progress_changes_no_version(service: RunningService, model: Made, dataset: Made) -> None:
    job = submit(service, model, dataset)
    path = f"/v1/jobs/{job['id']}"
    seen = service.http.get(path).headers["ETag"]
    same = service.http.get(path, headers={"If-None-Match": seen})
    with service.database.session() as session:
        jobs.lock(session, job["id"]).trials_done = 5
    later = service.http.get(path, headers={"If-None-Match": f'"other", {seen}'})
    changed = service.http.patch(path, json={"name": "new"}, headers={"If-Match": seen})

    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", seen)
    assert (later.status_code, later.json()["progress"]["trials"]) == (200, 5)
    assert later.headers["Cache-Control"] == "private, no-cache"
    assert changed.status_code == 200
    again = service.http.patch(path, json={"name": "newer"}, headers={"If-Match": seen})
    problem(again, 412, "changed")


@pytest.mark.parametrize("noun", ["model", "dataset"])
def test_what_a_client_has_is_not_sent_again(
    service: RunningService, model: Made, dataset: Made, noun: str
) -> None:
    path = f"/v1/{noun}s/{ {'model': model, 'dataset': dataset}[noun]['id'] }"
    seen = service.http.get(path)
    same = service.http.get(path, headers={"If-None-Match": seen.headers["ETag"]})
    other = service.http.get(path, headers={"If-None-Match": '"other"'})

    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["ETag"] == seen.headers["ETag"]
    assert other.json() == seen.json()


def test_the_effort_of_a_search_that_has_ended_stays(
    service: RunningService, model: Made, dataset: Made
) -> None:
    with service.client() as client:
        job = client.job(submit(service, model, dataset)["id"]).cancel()

        with pytest.raises(ProblemError) as caught:
            job.change(effort={"evaluations": 99})
        assert caught.value.code == "wrong-state"
        assert job.change(name="kept").content["name"] == "kept"


def test_a_clone_is_the_job_with_changes(
    service: RunningService, model: Made, dataset: Made
) -> None:
    first = submit(service, model, dataset, name="first", tags={"team": "edge"})
    with service.client() as client:
        job = client.job(first["id"])
        same = job.clone().content
        other = job.clone(
            name="second", study={"budget": {"ratio": 0.4}, "effort": {"wall_seconds": 60}}
        ).content
        with pytest.raises(ProblemError) as caught:
            job.clone(study={"budget": {"ratio": 7}})

    assert same["name"] == "first (copy)"
    assert (same["study"], same["tags"]) == (first["study"], first["tags"])
    assert same["id"] != first["id"]
    assert other["study"]["budget"] == {"metric": "macs", "ratio": 0.4}
    assert other["study"]["effort"]["evaluations"] == 10
    assert other["study"]["effort"]["wall_seconds"] == 60
    assert caught.value.errors[0]["pointer"] == "/study/budget/ratio"


def test_a_clone_may_have_any_other_searcher(
    service: RunningService, model: Made, dataset: Made
) -> None:
    first = submit(service, model, dataset)
    with service.client() as client:
        job = client.job(first["id"])
        for each in ("amc", "metapruning", "auto", "uniform"):
            job = job.clone(study={"searcher": each})
            assert job.content["study"]["searcher"] == each


def test_an_estimate_says_what_can_be_reached_and_stores_nothing(
    service: RunningService, model: Made, dataset: Made
) -> None:
    before = [each["id"] for each in service.http.get("/v1/jobs").json()["data"]]
    with service.client() as client:
        told = client.estimate(job_body(model, dataset))
        budget = {"metric": "macs", "ratio": 0.001}
        far = client.estimate(job_body(model, dataset, budget=budget))

    assert told["decisions"] == len(model["groups"])
    assert told["uncut"] == model["totals"]
    assert told["is_reachable"]
    assert told["seconds"] is None, "no job on this network has evaluated anything"
    assert told["accuracy"] is None
    assert 2 < told["disk_bytes"] / model["totals"]["size_bytes"] < 2.5, "weights and ONNX"
    assert not far["is_reachable"]
    assert far["limit"] < far["smallest"]["macs"] == told["smallest"]["macs"]
    assert [each["id"] for each in service.http.get("/v1/jobs").json()["data"]] == before


def test_more_policies_in_more_formats_take_more_of_the_disk(
    service: RunningService, model: Made, dataset: Made
) -> None:
    def disk_bytes(ratios: list[float], **confirmation: Any) -> int:
        wanted = job_body(model, dataset, smaller_ratios=ratios, confirmation=confirmation)
        return service.post("/v1/estimates", wanted).json()["disk_bytes"]

    bare = disk_bytes([], formats=[])

    assert disk_bytes([], top_k=3, formats=[]) == 3 * bare
    assert disk_bytes([0.4, 0.3], formats=[]) == 3 * bare
    # A job that kept 95 % of the MACs wrote 6.18 MB in all of the formats.
    assert 6_180_000 < disk_bytes([], formats=["onnx", "openvino", "pt2", "bundle"]) < 8_000_000
    assert disk_bytes([], formats=["onnx", "bundle"]) > disk_bytes([], formats=["onnx"]) > bare


def test_an_estimate_takes_time_and_accuracy_from_earlier_jobs(
    service: RunningService, model: Made, dataset: Made
) -> None:
    groups, full = [each["name"] for each in model["groups"]], model["totals"]["macs"]
    for seconds in (20.0, 50.0):
        job = submit(service, model, dataset)
        store_trials(service, job["id"], groups, [1000, 900, full])
        with service.database.session() as session:
            row = jobs.lock(session, job["id"])
            row.evaluations, row.elapsed_seconds = 10.0, seconds
            row.baseline = {"accuracy": 0.9}
            confirmed = [(1000, 0.75), (full, 0.95)]
            row.result = {
                "policies": [
                    {"test": {"accuracy": accuracy, "cost": {"macs": cost}}}
                    for cost, accuracy in confirmed
                ]
            }
    with service.client() as client:
        told = client.estimate(job_body(model, dataset, effort={"evaluations": 100}))

    seconds = told["seconds"]
    assert (seconds["low"], seconds["high"]) == (200.0, 500.0)
    assert (seconds["jobs"], seconds["is_same_data"]) == (2, True)
    # The most accurate of those measured and of those confirmed is over the budget.
    assert told["accuracy"] == {"searched": 0.3333, "confirmed": 0.75, "uncut": 0.9}


def test_jobs_are_compared_and_policies_told_apart(
    service: RunningService, person: Person, model: Made, dataset: Made
) -> None:
    other = submit(service, model, dataset)["id"]
    with service.client() as client:
        told = client.compare([person.ids["job_id"], other])
        diff = client.policy_diff(person.ids["policy_id"], person.ids["policy_id"])

    assert [each["job"]["id"] for each in told["jobs"]] == [person.ids["job_id"], other]
    assert not told["is_same_network"]
    assert told["points"][0]["accuracy"] == 0.5
    assert diff["totals"]["macs"] == [50, 50]
    assert diff["is_same_network"]
    assert diff["groups"] == [{"name": "conv1", "channels": 2, "kept": [1, 1], "shared": 1}]


def test_lists_are_filtered_and_the_next_page_keeps_the_filters(
    service: RunningService, model: Made, dataset: Made
) -> None:
    made = [
        submit(service, model, dataset, tags={"sweep": "7"}, name=f"s {n}")["id"] for n in "abc"
    ]
    with service.client() as client:
        found = [job.id for job in client.jobs(tag=["sweep:7"], limit=2)]
        by_name = [job.id for job in client.jobs(text="S A", tag=["sweep:7"])]
        none = list(client.jobs(searcher="amc", tag=["sweep:7"]))

    assert found == made[::-1]
    assert by_name == [made[0]]
    assert none == []
    problem(service.http.get("/v1/jobs?tag=sweep"), 422, "invalid")
    names = service.http.get("/v1/models", params={"text": "RESNET"}).json()["data"]
    assert model["id"] in [each["id"] for each in names]
    assert service.http.get("/v1/datasets", params={"text": "nothing"}).json()["data"] == []


def test_a_model_and_data_are_made_once_under_a_key(service: RunningService, model: Made) -> None:
    body = {"name": "again", "source": {"kind": "builtin", "name": "digits"}}
    key = {"Idempotency-Key": "data once"}

    first, again = (service.post("/v1/datasets", body, **key) for _ in range(2))
    other = service.post("/v1/datasets", body | {"seed": 1}, **key)

    assert (first.status_code, again.json()) == (201, first.json())
    problem(other, 422, "idempotency-mismatch")
    with_keys = {each["id"] for each in service.http.get("/v1/datasets?text=again").json()["data"]}
    assert with_keys == {first.json()["id"]}


def test_what_is_deleted_is_gone_with_what_hangs_on_it(service: RunningService) -> None:
    bert = Person(service, "bert").furnish()
    ids = bert.ids
    paths = {
        name: f"/v1/{name.removesuffix('_id')}s/{ids[name]}"
        for name in ("file_id", "model_id", "dataset_id", "job_id")
    }
    for name in ("file_id", "model_id", "dataset_id"):
        problem(service.http.delete(paths[name]), 409, "in-use")
    problem(service.http.delete(paths["job_id"]), 409, "wrong-state")
    with service.database.session() as session:
        jobs.move(session, ids["job_id"], JobState.CANCELLED)

    for name in ("job_id", "model_id", "dataset_id", "file_id"):
        assert service.http.delete(paths[name]).status_code == 204
        problem(service.http.get(paths[name]), 404, "not-found")

    for path in (f"/v1/policies/{ids['policy_id']}", f"/v1/artifacts/{ids['artifact_id']}"):
        problem(service.http.get(path), 404, "not-found")
    assert not list(service.settings.data_dir.rglob("bert.safetensors"))
    assert not list(service.settings.data_dir.rglob(f"{ids['job_id']}/*"))


def test_a_range_of_an_artifact_and_its_digest(service: RunningService, person: Person) -> None:
    path = f"/v1/artifacts/{person.ids['artifact_id']}/content"
    whole = service.http.get(path)
    part = service.http.get(path, headers={"Range": "bytes=1-"})
    replaced = service.http.get(path, headers={"Range": "bytes=1-", "If-Range": '"another"'})

    assert whole.headers["Repr-Digest"] == digest_header(hashlib.sha256(whole.content).hexdigest())
    assert (part.status_code, part.content) == (206, whole.content[1:])
    assert (replaced.status_code, replaced.content) == (200, whole.content)
    beyond = service.http.get(path, headers={"Range": "bytes=99-"})
    problem(beyond, 416, "range-not-satisfiable")
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole.content)}"
    problem(service.http.get(path, headers={"Range": "bytes=1-0"}), 400, "malformed")
    assert service.http.get(path, headers={"Range": "lines=1-2"}).content == whole.content


def test_head_tells_what_get_would_send(
    service: RunningService, person: Person, large: tuple[str, bytes]
) -> None:
    path = f"/v1/artifacts/{large[0]}/content"
    head, part = service.http.head(path), service.http.head(path, headers={"Range": "bytes=0-9"})
    whole = service.http.get(path)

    told = [name for name in whole.headers if name not in ("date", "x-request-id")]
    assert {name: head.headers[name] for name in told} == {n: whole.headers[n] for n in told}
    assert (head.status_code, head.content) == (200, b"")
    assert (part.status_code, part.headers["Content-Length"]) == (206, "10")
    for path in ("/v1/health", "/", "/static/style.css", "/v1/jobs?limit=1"):
        assert service.http.head(path).status_code == 200, path
    assert service.http.head("/v1/jobs/job_0").status_code == 404
    refused = service.http.head("/v1/estimates")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


def test_head_of_a_stream_ends_at_once(service: RunningService, model: Made, dataset: Made) -> None:
    path = f"/v1/jobs/{submit(service, model, dataset)['id']}"  # which goes on
    told = service.http.head(f"{path}/events", headers={"Accept": "text/event-stream"})

    assert (told.status_code, told.content) == (200, b"")
    assert told.headers["Content-Type"].startswith("text/event-stream")
    assert service.http.head(f"{path}/trials.csv").status_code == 200
    assert service.http.get(path).status_code == 200, "the connection serves the next request"


def test_what_may_come_of_a_file_is_described(service: RunningService) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    content = paths["/v1/artifacts/{artifact_id}/content"]["get"]
    conditional = ("/v1/jobs/{job_id}", "/v1/models/{model_id}", "/v1/policies/{policy_id}")

    assert {"200", "206", "304", "404", "416"} <= set(content["responses"])
    assert {"Range", "If-Range", "If-None-Match"} <= {
        each["name"].title() for each in content["parameters"]
    }
    assert all("304" in paths[path]["get"]["responses"] for path in conditional)
    assert {"200", "201"} <= set(paths["/v1/files"]["post"]["responses"])


class Breaking:
    """A proxy before a service that cuts each answer's body short the first few times."""

    def __init__(self, service: RunningService, cuts: int, after: int) -> None:
        self._port, self._cuts, self._after = int(service.url.rpartition(":")[2]), cuts, after
        self.ranges: list[str] = []

    def __enter__(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        request = client.recv(65536)
        lines = request.split(b"\r\n")
        self.ranges += [each.decode() for each in lines if each.lower().startswith(b"range:")]
        with socket.create_connection(("127.0.0.1", self._port)) as service:
            service.sendall(lines[0] + b"\r\nConnection: close\r\n" + b"\r\n".join(lines[1:]))
            answer = b"".join(iter(lambda: service.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"/content" in lines[0] and self._cuts and len(body) > self._after:
            self._cuts -= 1
            body = body[: self._after]
        client.sendall(head + b"\r\n\r\n" + body)


@pytest.fixture
def large(service: RunningService, person: Person) -> tuple[str, bytes]:
    """An artifact of a megabyte."""
    content = bytes(range(256)) * 4096
    written = service.files.write("artifacts/large", [content])
    with service.database.session() as session:
        new = NewArtifact(person.ids["job_id"], "large", "network", "application/octet-stream")
        row = artifacts.put(session, new, written)
    return row.id, content


def test_a_download_goes_on_where_the_connection_broke(
    service: RunningService,
    large: tuple[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfers, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    breaking = Breaking(service, cuts=2, after=300_000)
    with breaking as url, Client(url) as client:
        path = client.download(large[0], tmp_path / "network")

    assert path.read_bytes() == large[1]
    assert breaking.ranges == ["Range: bytes=300000-", "Range: bytes=600000-"]


def test_a_download_that_arrives_damaged_leaves_nothing(
    service: RunningService, large: tuple[str, bytes], tmp_path: Path
) -> None:
    (service.settings.data_dir / "artifacts" / "large").write_bytes(bytes(len(large[1])))

    with service.client() as client, pytest.raises(StorageFailed, match="or others"):
        client.download(large[0], tmp_path / "network")
    assert not (tmp_path / "network").exists()


def test_the_command_line_steers_copies_and_deletes(
    service: RunningService, model: Made, dataset: Made
) -> None:
    runner, at = CliRunner(), ["--url", service.url]
    job = submit(service, model, dataset)["id"]

    def run(*arguments: str) -> str:
        done = runner.invoke(app, [*arguments, *at])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    run("jobs", "change", job, "--evaluations", "33", "--priority", "2", "--name", "mine")
    with service.client() as client:
        assert client.job(job).content["study"]["effort"]["evaluations"] == 33
    copy = run("jobs", "clone", job, "--seed", "5", "--max-macs", "40%").split()[0]
    floor = ("--searcher", "amc", "--accuracy-floor", "90%")
    floored = run("jobs", "clone", job, *floor).split()[0]
    with service.client() as client:
        assert client.job(floored).content["study"]["accuracy_floor"] == 0.9
    assert f"{model['id']}" in run("models", "ls")
    assert "digits" in run("datasets", "ls")
    wanted = ("search", model["id"], dataset["id"], "--max-macs", "5%", "--estimate")
    assert "within reach" in run(*wanted)
    assert "out of reach" in run(*wanted, "--fix", "conv1=0%")
    latency = ("--max-latency", "50%", "--target", "cpu-openvino", "--estimate")
    assert "measures the target's table first" in run("search", *wanted[1:3], *latency)
    run("jobs", "compare", job, copy)
    run("jobs", "cancel", copy)
    other = run("jobs", "clone", job, "--searcher", "amc", "--option", "tau=0.5").split()[0]
    with service.client() as client:
        assert client.job(other).content["study"]["searcher_options"] == {"tau": 0.5}
    study = {"space": {"weight_bits": [4, 8]}, "confirmation": {"finetune_epochs": 2}}
    smaller = run("jobs", "clone", job, "--study", json.dumps(study)).split()[0]
    with service.client() as client:
        found = client.job(smaller).content["study"]
    assert found["space"]["weight_bits"] == [4, 8]
    assert found["confirmation"]["finetune_epochs"] == 2
    for wrong, why in (('{"seed": 3}', "both change 'seed'"), ("[1]", "give a JSON object")):
        twice = runner.invoke(app, ["jobs", "clone", job, "--seed", "5", "--study", wrong, *at])
        assert twice.exit_code == 2
        assert why in " ".join(twice.stderr.replace("│", " ").split())
    assert "deleted" in run("jobs", "rm", copy)
    refused = runner.invoke(app, ["models", "rm", model["id"], *at])
    assert isinstance(refused.exception, ProblemError)
    assert refused.exception.code == "in-use"
