"""Confirming another trial of a search: submitted over HTTP, run by a worker's own steps."""

import io
import json
import zipfile
from dataclasses import replace
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from automl_api.cli import app
from automl_api.client_job import EXPORTED_SUFFIXES
from automl_compress.core import (
    Budget,
    Measurement,
    Policy,
    Recipe,
    SpaceOptions,
    Suggestion,
    Trial,
    TrialState,
)
from automl_compress.core.confirmation import EngineFormat
from automl_compress.core.errors import InvalidInput, NotFound
from automl_compress.costs import PolicyCosts, compression_space
from automl_compress.export.formats import suffix_of
from automl_compress.networks.trace import trace
from automl_compress.store import JobRow, JobState, SqlTrialStore, consistency, jobs
from automl_compress.store.retention import note_removed
from tests.api.conftest import RunningService, job_body, problem
from tests.api.test_evaluations import uncut_network, work
from tests.api.test_jobs import FINISHED, move_to, submit
from tests.automl_compress.export.conftest import NEEDS_ONNX
from tests.fakes import measurement_of

Json = dict[str, Any]
UNTUNED = {"top_k": 1, "finetune_epochs": 0, "formats": []}


@pytest.fixture(scope="module")
def policies() -> list[Policy]:
    """Policies of half, two fifths and a third of the MACs, and one that is too large."""
    space = compression_space(trace(uncut_network(), (1, 8, 8)).graph, SpaceOptions())
    ratios = (0.5, 0.4, 0.33, 0.9)
    return [space.policy(space.uniform(Budget("macs", each))) for each in ratios]


def measured(policy: Policy) -> Measurement:
    cost = PolicyCosts(trace(uncut_network(), (1, 8, 8)).graph).cost(policy)
    return replace(measurement_of(cost, 0.5), recipe=Recipe(images=64, calibration_images=64))


@pytest.fixture(scope="module")
def search(service: RunningService, model: Json, dataset: Json, policies: list[Policy]) -> str:
    """A search that has ended; trial 4 repeats trial 0, trial 5 is a probe, trial 6 failed."""
    recipe = {"images": 64, "calibration_images": 64}
    body = job_body(model, dataset, confirmation=UNTUNED, recipe=recipe)
    job_id = submit(service, body | {"name": "half"})["id"]
    store = SqlTrialStore(service.database, job_id)
    for number, policy in enumerate([*policies, policies[0]]):
        store.asked(Suggestion(number, policy))
        store.told(Trial(number, policy, TrialState.COMPLETE, measured(policy)))
    probe = Suggestion(5, policies[1], role="probe")
    store.asked(probe)
    told = Trial(5, policies[1], TrialState.COMPLETE, measured(policies[1]), role="probe")
    store.told(told)
    store.asked(Suggestion(6, policies[1]))
    store.told(Trial(6, policies[1], TrialState.FAILED, failure="the process died"))
    return job_id


def trial_id(service: RunningService, search: str, number: int) -> str:
    listed = service.http.get(f"/v1/jobs/{search}/trials?after={number - 1}&limit=1").json()
    return listed["data"][0]["id"]


def confirm(service: RunningService, search: str, number: int, **body: Any) -> Any:
    return service.post(f"/v1/trials/{trial_id(service, search, number)}/confirm", body)


def test_a_search_that_goes_on_confirms_by_itself(service: RunningService, search: str) -> None:
    told = problem(confirm(service, search, 1), 409, "wrong-state")

    assert "once it has ended" in told["detail"]


@pytest.fixture(scope="module")
def ended(service: RunningService, search: str, policies: list[Policy]) -> str:
    """The search, which has confirmed its trial 0."""
    move_to(service, search, *FINISHED[:-1])
    test = measured(policies[0]).to_json()
    own = {"trial_number": 0, "policy_id": "pol_0", "test": test, "artifacts": []}
    with service.database.session() as session:
        row = jobs.move(session, search, JobState.SUCCEEDED)
        row.result = {"policy_id": "pol_0", "policies": [own], "baseline": test}
    return search


def row_of(service: RunningService, job_id: str) -> JobRow:
    with service.database.reading() as session:
        return jobs.get(session, job_id)


def test_files_for_engines_are_known_by_their_suffixes() -> None:
    # The client does not load what writes them.
    assert set(EXPORTED_SUFFIXES) == {suffix_of(each) for each in get_args(EngineFormat)}


def test_another_trial_is_confirmed_as_the_search_confirms(
    service: RunningService, ended: str, policies: list[Policy]
) -> None:
    with service.client() as client:
        job = client.job(ended).confirm(1)
        assert (job.content["kind"], job.content["search_id"]) == ("confirmation", ended)
        assert job.content["confirmation"] == {"trial_number": 1}
        work(service, job.id)
        done = job.refresh().content
        best, files = job.best(), [each["name"] for each in job.artifacts()]
        assert [each.id for each in client.jobs(search_id=ended)] == [job.id]
        network = job.download_network(best, service.settings.data_dir / "small.safetensors")
        with pytest.raises(NotFound, match="neither quantised nor sparse"):
            job.download_network(best, service.settings.data_dir / "small.amlc")
        with pytest.raises(InvalidInput, match=r"small\.onnx would hold weights in .*export"):
            job.download_network(best, service.settings.data_dir / "small.onnx")

    assert done["status"] == "succeeded", done["error"]
    (told,) = done["result"]["policies"]
    assert told["trial_number"] == 1
    assert told["test"]["split"].startswith("test")
    assert told["test"]["fidelity"] == "confirmed"
    assert told["test"]["cost"]["macs"] == measured(policies[1]).cost.macs
    assert set(files) == {"network.safetensors", "policy.json", "card.md", "report.json"}
    assert best.provenance["job_id"] == ended
    assert best.provenance["confirmation_job_id"] == job.id
    assert set(best.provenance["normalisation"]) == {"mean", "std"}
    assert best.policy.widths(trace(uncut_network(), (1, 8, 8)).graph)
    assert network.stat().st_size
    with service.database.reading() as session:
        broken = list(consistency.RULES["policies are of stored trials"](session))
    assert [each for each in broken if each[0] != ended] == []  # whose own policy is made up
    page = service.http.get(f"/jobs/{ended}?trial=1").text
    assert "Confirmed afterwards" in page
    assert f"policies/{best.id}" in page
    assert 'id="confirm"' not in page
    assert 'id="confirm"' in service.http.get(f"/jobs/{ended}?trial=2").text
    moved = service.http.get(f"/jobs/{job.id}", follow_redirects=False)
    assert moved.headers["Location"] == f"{ended}?trial=1#results-title"
    assert service.http.get(f"/policies/{best.id}").status_code == 200
    points = service.http.get(f"/jobs/{ended}/points").json()["confirmed"]
    assert [each["number"] for each in points] == [1]


def test_the_test_split_scores_a_policy_once(service: RunningService, ended: str) -> None:
    own = problem(confirm(service, ended, 0), 409, "confirmed-already")
    assert (own["job_id"], own["policy_id"]) == (ended, "pol_0")
    alike = problem(confirm(service, ended, 4, formats=["onnx"]), 409, "confirmed-already")
    assert alike["job_id"] == ended, "trial 4 is the policy of trial 0"

    first = confirm(service, ended, 2).json()
    again = problem(confirm(service, ended, 2), 409, "confirmed-already")
    other = confirm(service, ended, 2, finetune_epochs=1, name="tuned")

    assert again["job_id"] == first["id"]
    assert again["policy_id"] is None, "it is under way"
    assert other.status_code == 202
    assert other.json()["study"]["confirmation"]["finetune_epochs"] == 1
    service.http.post(f"/v1/jobs/{first['id']}/cancel")
    service.http.post(f"/v1/jobs/{other.json()['id']}/cancel")
    assert confirm(service, ended, 2).status_code == 202, "what was cancelled gave no figure"


def test_a_repeated_request_gives_the_same_confirmation(
    service: RunningService, ended: str
) -> None:
    path = f"/v1/trials/{trial_id(service, ended, 2)}/confirm"
    body = {"finetune_epochs": 2}

    made = [service.post(path, body, **{"Idempotency-Key": "twice"}) for _ in range(2)]

    assert [each.status_code for each in made] == [202, 202]
    assert made[0].json()["id"] == made[1].json()["id"]
    other = service.post(path, {"finetune_epochs": 3}, **{"Idempotency-Key": "twice"})
    problem(other, 422, "idempotency-mismatch")


@pytest.mark.parametrize(
    ("number", "reason"), [(3, "its budget is"), (5, "competes with no other"), (6, "is failed")]
)
def test_what_could_not_have_won_is_not_confirmed(
    service: RunningService, ended: str, number: int, reason: str
) -> None:
    assert reason in problem(confirm(service, ended, number), 409, "wrong-state")["detail"]


def test_wrong_bodies_are_refused_by_name(service: RunningService, ended: str) -> None:
    for body in ({"epochs": 3}, {"finetune_epochs": -1}, {"formats": ["tflite"]}):
        told = problem(confirm(service, ended, 2, **body), 422, "invalid")
        assert told["errors"][0]["pointer"].startswith(f"/{next(iter(body))}")
    twice = confirm(service, ended, 2, formats=["onnx", "onnx"])
    assert "each once" in problem(twice, 422, "invalid")["detail"]
    problem(service.post("/v1/trials/trl_0/confirm", {}), 404, "not-found")


def test_a_search_is_kept_while_others_confirm_its_trials(
    service: RunningService, ended: str
) -> None:
    told = problem(service.http.delete(f"/v1/jobs/{ended}"), 409, "in-use")

    assert "search_id" in told["detail"]


@NEEDS_ONNX
def test_bundles_hold_the_report_of_the_search_with_their_own_policy(
    service: RunningService, ended: str
) -> None:
    def report(content: bytes) -> str:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            return bundle.read("report.html").decode()

    with service.client() as client:
        job = client.job(ended).confirm(1, finetune_epochs=1, formats=["bundle"])
        work(service, job.id)
        (told,) = job.refresh().content["result"]["policies"]
        (written,) = [each for each in job.artifacts() if each["name"] == "network.zip"]
        by_job = report(service.http.get(f"/v1/artifacts/{written['id']}/content").content)
        with service.database.session() as session:
            note_removed(session, [written["id"]])
        path = f"/v1/policies/{told['policy_id']}/artifacts"
        exporting = service.post(path, {"format": "bundle"}).json()["job"]
        work(service, exporting["id"])
        (made,) = service.post(path, {"format": "bundle"}).json()["artifacts"]
        by_export = report(service.http.get(f"/v1/artifacts/{made['id']}/content").content)

    by_http = service.http.get(f"/v1/jobs/{job.id}/report.html").text
    for page in (by_job, by_export, by_http):
        assert '<h1 dir="auto">half</h1>' in page
        assert ": succeeded after" in page
        assert "<h2>Policy of trial 1</h2>" in page
        assert '<th scope="row">trial 1</th>' in page
        assert '<th scope="row">trial 0</th>' not in page
        assert f"{100 * told['test']['accuracy']:.2f} %" in page
        assert "<script" not in page


def test_a_trial_is_confirmed_from_the_command_line(service: RunningService, ended: str) -> None:
    place = ["--url", service.url, "--json"]
    made = CliRunner().invoke(
        app, ["confirm", ended, "2", "--finetune-epochs", "4", "--formats", "none", *place]
    )
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    assert told["study"]["confirmation"] == {
        **row_of(service, ended).spec["study"]["confirmation"],
        "finetune_epochs": 4,
    }
    service.http.post(f"/v1/jobs/{told['id']}/cancel")
    missing = CliRunner().invoke(app, ["confirm", ended, "99", *place])
    assert "has no trial 99" in str(missing.exception)
