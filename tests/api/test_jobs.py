import json
from typing import Any

import pytest

from automl_api.jobs.requests import StudyBody
from automl_compress.core import (
    Budget,
    Choice,
    Cost,
    Effort,
    Measurement,
    Policy,
    StudySpec,
    Suggestion,
    Trial,
)
from automl_compress.core import TrialState as State
from automl_compress.core.document import GroupRow, MetricRow, ModelReference, PolicyDocument
from automl_compress.store import JobState, SqlTrialStore, artifacts, browsing, policies
from automl_compress.store import jobs as job_rows
from automl_compress.store.artifacts import NewArtifact
from tests.api.conftest import RunningService, job_body, problem
from tests.fakes import measurement_of

HASH = "sha256:" + "0" * 64


def submit(service: RunningService, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    response = service.post("/v1/jobs", body, **headers)
    assert response.status_code == 202, response.text
    return response.json()


def count_jobs(service: RunningService) -> int:
    with service.database.reading() as session:
        return len(browsing.jobs_behind(session, None, limit=200).rows)


def measured(score: float) -> Measurement:
    return measurement_of(Cost(50, 40, 160, 50 * 1024), score)


def store_trials(service: RunningService, job_id: str, scores: list[float]) -> None:
    store = SqlTrialStore(service.database, job_id)
    for number, score in enumerate(scores):
        policy = Policy((Choice("conv1", number / 100),))
        store.asked(Suggestion(number, policy))
        store.told(Trial(number, policy, State.COMPLETE, measured(score)))


def move_to(service: RunningService, job_id: str, *states: JobState) -> None:
    for state in states:
        with service.database.session() as session:
            job_rows.move(session, job_id, state)


SEARCHED = (JobState.VALIDATING, JobState.PROFILING, JobState.RUNNING)
FINISHED = (*SEARCHED, JobState.FINALIZING, JobState.SUCCEEDED)


def document(ratio: float, search: float = 0.9, test: float = 0.9) -> PolicyDocument:
    after = round(100 * ratio)
    return PolicyDocument(
        ModelReference("net", HASH, HASH, (1, 8, 8)),
        (GroupRow("conv1", 2, (0,), "l1"),),
        before=Cost(100, 100, 400, 100 * 1024),
        after=Cost(after, after, 4 * after, after * 1024),
        metrics=(
            MetricRow("accuracy", test, "test: rows 0-99", "confirmed", 100),
            MetricRow("accuracy", search, "search: rows 100-199", "confirmed", 100),
        ),
    )


def test_what_is_left_out_has_the_defaults_of_the_library() -> None:
    body: dict[str, Any] = {
        "searcher": "amc",
        "budget": {"ratio": 0.5},
        "effort": {"evaluations": 10},
        "space": {},
        "recipe": {},
        "confirmation": {},
    }

    specification = StudyBody.model_validate(body).specification()

    assert specification == StudySpec("amc", Budget("macs", 0.5), Effort(10.0))


def test_a_job_is_accepted_and_waits_for_a_worker(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = submit(service, job_body(model, dataset) | {"name": "half", "tags": {"team": "edge"}})

    assert job["status"] == "queued"
    assert job["study"]["space"]["max_sparsity"] == 0.9  # what was left out has its default
    assert job["tags"] == {"team": "edge"}
    assert job["progress"]["evaluations_limit"] == 10
    assert job["progress"]["eta_seconds"] is None
    assert service.http.get(f"/v1/jobs/{job['id']}").json() == job
    with service.database.reading() as session:
        row = job_rows.get(session, job["id"])
    assert row.spec["model"]["architecture"] == "resnet-20"
    assert row.spec["model"]["weights"].startswith("files/")
    assert row.spec["dataset"]["kind"] == "builtin"


@pytest.mark.parametrize(
    ("study", "code", "pointer", "says"),
    [
        ({"searcher": "genetic"}, "unknown-name", "/study/searcher", "amc"),
        (
            {"searcher": "amc", "searcher_options": {"depth/x": 3}},
            "invalid",
            "/study/searcher_options/depth~1x",
            "batch_size",
        ),
        (
            {"searcher": "amc", "searcher_options": {"batch_size": "64"}},
            "invalid",
            "/study/searcher_options/batch_size",
            "is '64'; it takes an integer",
        ),
        (
            {"searcher": "amc", "searcher_options": {"tau": 2}},
            "invalid",
            "/study/searcher_options/tau",
            "tau is 2.0; give a number from 0 to 1",
        ),
        (
            {"searcher": "agmc", "searcher_options": {"transfer_from": "encoder.safetensors"}},
            "invalid",
            "/study/searcher_options/transfer_from",
            "which no request may give",
        ),
        ({"space": {"skip": ["conv9"]}}, "invalid", "/study/space", "layer1.0.conv1"),
        (
            {"searcher": "gp", "effort": {"evaluations": 5000}},
            "invalid",
            "/study/searcher",
            "max_evaluations is 400; spend fewer; or choose one that can: ",
        ),
        (
            {"searcher": "tec", "searcher_options": {"max_filters": 50}},
            "invalid",
            "/study/searcher",
            "filters can be cut, and its option max_filters is 50",
        ),
        ({"space": {"criterion": "beauty"}}, "unknown-name", "/study/space/criterion", "l1"),
        ({"space": {"quantiser": "beauty"}}, "unknown-name", "/study/space/quantiser", "kmeans"),
        (
            {"space": {"quantiser": "binary", "weight_bits": [4]}},
            "invalid",
            "/study/space",
            "not 4",
        ),
        (
            {"space": {"quantiser": "bit_split", "weight_bits": [4]}},
            "invalid",
            "/study/space",
            "'uniform'",
        ),
        ({"space": {"weight_bits": [4, 9]}}, "invalid", "/study/space/weight_bits/1", "32"),
        ({"space": {"weight_bits": [8, 4]}}, "invalid", "/study/space/weight_bits", "ascending"),
        ({"space": {"schemes": ["beauty"]}}, "invalid", "/study/space/schemes/0", "element"),
        (
            {"space": {"weight_bits": [2, 4]}, "searcher": "tec"},
            "invalid",
            "/study/searcher",
            "tec",
        ),
        ({"searcher": "haq"}, "invalid", "/study/searcher", "bits"),
        (
            {"searcher": "eagleeye", "recipe": {"repair": "reconstruction"}},
            "invalid",
            "/study/recipe/repair",
            "method of searcher 'eagleeye' is 'recalibration'",
        ),
        (
            {"searcher": "metapruning", "recipe": {"weights": "inherited"}},
            "invalid",
            "/study/recipe/weights",
            "set recipe.weights to 'pruning_net'",
        ),
        (
            {"searcher": "portfolio", "searcher_options": {"members": ["auto", "eagleeye"]}},
            "invalid",
            "/study/recipe/repair",
            "'eagleeye'",
        ),
        ({"budget": {"metric": "flops", "ratio": 0.5}}, "invalid", "/study/budget/metric", "macs"),
        ({"budget": {"metric": "macs", "ratio": 1.5}}, "invalid", "/study/budget/ratio", "1"),
        ({"effort": {"evaluations": 0}}, "invalid", "/study/effort/evaluations", "0"),
        ({"effort": {"evaluations": 0.5}}, "invalid", "/study/effort/evaluations", "1"),
        ({"recipe": {"images": 10**9}}, "invalid", "/study/recipe/images", "has 397"),
        ({"recipe": {"signal": "beauty"}}, "invalid", "/study/recipe/signal", "accuracy"),
        ({"parallelism": 0}, "invalid", "/study/parallelism", "1"),
        ({"accuracy_floor": 90}, "invalid", "/study/accuracy_floor", "1"),
        ({"accuracy_floor": 0.9}, "invalid", "/study/searcher", "can: auto, amc, agmc"),
        (
            {"searcher": "amc", "searcher_options": {"reward": "least_cost"}},
            "invalid",
            "/study/searcher",
            "needs the accuracy floor",
        ),
        (
            {"searcher": "amc", "searcher_options": {"reward": "speed"}},
            "invalid",
            "/study/searcher_options/reward",
            "'error_times_log_cost'",
        ),
        ({"searchers": ["amc"]}, "invalid", "/study/searchers", "not known"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    study: dict[str, Any],
    code: str,
    pointer: str,
    says: str,
) -> None:
    before = count_jobs(service)

    answer = problem(service.post("/v1/jobs", job_body(model, dataset, **study)), 422, code)

    assert says in answer["detail"]
    assert answer["errors"][0]["pointer"].startswith(pointer)
    assert count_jobs(service) == before
    estimate = problem(service.post("/v1/estimates", job_body(model, dataset, **study)), 422, code)
    assert estimate["errors"] == answer["errors"]


def test_every_option_that_a_searcher_cannot_have_is_named(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    options = {"batch_size": 64.5, "tau": 0.5, "mode": "magic"}
    body = job_body(model, dataset, searcher="amc", searcher_options=options)

    answer = problem(service.post("/v1/jobs", body), 422, "invalid")

    assert {each["pointer"] for each in answer["errors"]} == {
        "/study/searcher_options/batch_size",
        "/study/searcher_options/mode",
    }
    taken = {"mode": "faithful", "tau": 1, "hidden": [32, 32], "warmup_evaluations": None}
    submit(service, job_body(model, dataset, searcher="amc", searcher_options=taken))


@pytest.mark.parametrize("metric", ["macs", "micronet"])
def test_a_budget_that_cannot_be_reached_is_answered_with_the_smallest_cost(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any], metric: str
) -> None:
    budget: dict[str, Any] = {"metric": metric, "ratio": 0.01}
    body = job_body(model, dataset, budget=budget, space={"max_sparsity": 0.5})

    answer = problem(service.post("/v1/jobs", body), 422, "infeasible-budget")

    full = model["totals"][metric]
    assert answer["metric"] == metric
    assert answer["limit"] == int(0.01 * full)
    assert answer["limit"] < answer["smallest"] < full
    assert f"{answer['smallest']:,}" in answer["detail"]
    reachable = {"metric": metric, "ratio": answer["smallest"] / full + 1e-6}
    submit(service, job_body(model, dataset, budget=reachable, space={"max_sparsity": 0.5}))


def test_images_that_do_not_fit_the_network_are_refused(
    service: RunningService, dataset: dict[str, Any]
) -> None:
    with service.client() as client:
        colour = client.create_model("lenet-5", config={"in_channels": 1, "image_size": 28})

    answer = problem(service.post("/v1/jobs", job_body(colour, dataset)), 422, "invalid-data")

    assert "1x8x8" in answer["detail"]
    assert "1x28x28" in answer["detail"]


@pytest.mark.parametrize("field", ["model_id", "dataset_id"])
def test_what_a_job_refers_to_must_exist(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any], field: str
) -> None:
    prefix = {"model_id": "mdl", "dataset_id": "dat"}[field]
    body = job_body(model, dataset) | {field: f"{prefix}_00000000000000000000"}

    answer = problem(service.post("/v1/jobs", body), 422, "unknown-name")

    assert answer["errors"][0]["pointer"] == f"/{field}"


def test_an_idempotency_key_makes_one_job(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    body, key = job_body(model, dataset), {"Idempotency-Key": "once"}
    before = count_jobs(service)

    first, second = submit(service, body, **key), submit(service, body, **key)

    assert first["id"] == second["id"]
    assert count_jobs(service) == before + 1
    other = job_body(model, dataset, seed=1)
    answer = problem(service.post("/v1/jobs", other, **key), 422, "idempotency-mismatch")
    assert first["id"] in answer["detail"]


def test_cancel_pause_and_resume_may_be_repeated(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    path = f"/v1/jobs/{submit(service, job_body(model, dataset))['id']}"

    for verb, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        for _ in range(2):
            response = service.http.post(f"{path}/{verb}")
            assert (response.status_code, response.json()["status"]) == (202, status)

    for verb in ("pause", "resume"):
        answer = problem(service.http.post(f"{path}/{verb}"), 409, "wrong-state")
        assert "cancelled" in answer["detail"]


def test_jobs_are_listed_by_state_and_model(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    first = submit(service, job_body(model, dataset))
    second = submit(service, job_body(model, dataset))
    service.http.post(f"/v1/jobs/{second['id']}/cancel")

    queued = service.http.get("/v1/jobs", params={"status": "queued", "limit": 1}).json()
    cancelled = service.http.get("/v1/jobs", params={"status": "cancelled"}).json()
    other = service.http.get("/v1/jobs", params={"model_id": "mdl_x"}).json()

    assert queued["data"][0]["id"] == first["id"]
    assert "status=queued" in queued["next"]
    assert second["id"] in [job["id"] for job in cancelled["data"]]
    assert other["data"] == []
    problem(service.http.get("/v1/jobs", params={"status": "happy"}), 422, "invalid")
    problem(service.http.get("/v1/jobs", params={"limit": 1000}), 422, "invalid")


@pytest.mark.parametrize(
    "path", ["", "/events", "/trials", "/best", "/cancel", "/pause", "/resume"]
)
def test_an_unknown_job_is_not_found(service: RunningService, path: str) -> None:
    method = "POST" if path in ("/cancel", "/pause", "/resume") else "GET"

    problem(
        service.http.request(method, f"/v1/jobs/job_00000000000000000000{path}"), 404, "not-found"
    )


def test_trials_come_by_number_in_pages(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = submit(service, job_body(model, dataset))
    store_trials(service, job["id"], [0.5, 0.7, 0.6])

    page = service.http.get(f"/v1/jobs/{job['id']}/trials", params={"limit": 2}).json()
    rest = service.http.get(page["next"]).json()

    assert [trial["number"] for trial in page["data"] + rest["data"]] == [0, 1, 2]
    assert page["data"][1]["measurement"]["accuracy"] == 0.7
    assert service.http.get(f"/v1/trials/{page['data'][1]['id']}").json() == page["data"][1]
    shown = service.http.get(f"/v1/jobs/{job['id']}").json()["progress"]
    assert shown["best"] == {"number": 1, "score": 0.7}
    assert shown["trials"] == 3
    assert shown["fraction"] == pytest.approx(0.3)


def test_a_job_says_how_long_it_took_and_how_long_it_will(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = submit(service, job_body(model, dataset))
    for attempt, owner in ((1, "first"), (1, "second")):  # another worker goes on with it
        with service.database.session() as session:
            job_rows.claim(session, job["id"], attempt, owner)
            job_rows.beat(session, job["id"], owner, 1.25, 30.5)
    move_to(service, job["id"], *SEARCHED)
    store_trials(service, job["id"], [0.5])
    path = f"/v1/jobs/{job['id']}"

    running = service.http.get(path).json()["progress"]
    event = service.http.get(f"{path}/events").json()["data"][-1]
    move_to(service, job["id"], *FINISHED[len(SEARCHED) :])
    ended = service.http.get(path).json()["progress"]

    assert (running["elapsed_seconds"], running["eta_seconds"]) == (2.5, 30.5)
    assert (event["data"]["elapsed_seconds"], event["data"]["eta_seconds"]) == (2.5, 30.5)
    assert (ended["elapsed_seconds"], ended["eta_seconds"]) == (2.5, None)


def test_before_anything_is_confirmed_the_best_trial_is_named(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = submit(service, job_body(model, dataset))
    store_trials(service, job["id"], [0.5, 0.7])

    answer = problem(service.http.get(f"/v1/jobs/{job['id']}/best"), 404, "nothing-fits")

    assert answer["nearest"] == {"trial_number": 1, "score": 0.7}


def finish(service: RunningService, job_id: str, *best_first: PolicyDocument) -> None:
    """Store a job's end; the documents are stored in another order than the result has."""
    move_to(service, job_id, *FINISHED)
    with service.database.session() as session:
        rows = [
            policies.add(session, each.to_json(), job_id=job_id, trial_number=number)
            for number, each in enumerate(best_first[::-1])
        ]
        listed = [{"policy_id": row.id} for row in rows[::-1]]
        job_rows.lock(session, job_id).result = {**listed[0], "policies": listed}


def test_the_best_policy_is_the_first_of_the_result(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = submit(service, job_body(model, dataset))
    best = document(0.45, search=0.85, test=0.84)
    luckiest = document(0.5, search=0.80, test=0.99)
    smallest = document(0.3, search=0.75)
    finish(service, job["id"], best, luckiest, smallest)
    path = f"/v1/jobs/{job['id']}/best"

    found = service.http.get(path)
    smaller = service.http.get(path, params={"max_ratio": 0.4})
    of_parameters = service.http.get(path, params={"max_ratio": 0.4, "metric": "parameters"})

    assert found.json() == best.to_json()
    assert smaller.json() == smallest.to_json()
    assert of_parameters.json() == smallest.to_json()
    assert found.headers["ETag"] == f'"{best.digest}"'
    again = service.http.get(path, headers={"If-None-Match": found.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    answer = problem(service.http.get(path, params={"max_ratio": 0.1}), 404, "nothing-fits")
    assert answer["nearest"]["ratio"] == pytest.approx(0.3)
    assert answer["nearest"]["metric"] == "macs"
    problem(service.http.get(path, params={"max_ratio": "half"}), 422, "invalid")
    # These documents were made without a score.
    untold = service.http.get(path, params={"max_ratio": 0.4, "metric": "micronet"})
    assert "macs" in problem(untold, 404, "nothing-fits")["detail"]
    with service.client() as client:
        assert client.job(job["id"]).best() == best


def test_below_an_accuracy_floor_no_policy_is_the_best(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = submit(service, job_body(model, dataset, searcher="amc", accuracy_floor=0.8))
    below, cheapest, dearer = document(0.2), document(0.3), document(0.4)
    finish(service, job["id"], below, cheapest, dearer)
    path = f"/v1/jobs/{job['id']}/best"

    def tell(*accuracies: float) -> None:
        with service.database.session() as session:
            row = job_rows.lock(session, job["id"])
            told = zip((row.result or {})["policies"], accuracies, strict=True)
            policies = [each | {"search": measured(score).to_json()} for each, score in told]
            row.result = {**(row.result or {}), "policies": policies}

    tell(0.7, 0.8, 0.9)
    assert service.http.get(path).json() == cheapest.to_json()
    tell(0.7, 0.6, 0.5)
    answer = problem(service.http.get(path), 404, "nothing-fits")
    assert "reaches the accuracy floor of 0.8" in answer["detail"]
    assert answer["nearest"]["accuracy"] == 0.7


def test_a_policy_never_changes(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    with service.database.session() as session:
        row = policies.add(session, document(0.5).to_json())

    response = service.http.get(f"/v1/policies/{row.id}")

    assert response.json() == document(0.5).to_json()
    assert "immutable" in response.headers["Cache-Control"]
    problem(service.http.get("/v1/policies/pol_0"), 404, "not-found")


def test_an_artifact_is_downloaded_whole_and_in_ranges(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any], tmp_path: Any
) -> None:
    job = submit(service, job_body(model, dataset))
    content = bytes(range(256)) * 1000
    written = service.files.write(f"artifacts/{job['id']}/small.safetensors", [content])
    with service.database.session() as session:
        new = NewArtifact(job["id"], "small.safetensors", "network", "application/octet-stream")
        row = artifacts.put(session, new, written)
    path = f"/v1/artifacts/{row.id}/content"

    whole = service.http.get(path)
    part = service.http.get(path, headers={"Range": "bytes=256-511"})
    same = service.http.get(path, headers={"If-None-Match": whole.headers["ETag"]})

    assert whole.content == content
    assert whole.headers["ETag"] == f'"{written.sha256}"'
    assert (part.status_code, part.content) == (206, bytes(range(256)))
    assert same.status_code == 304
    listed = service.http.get("/v1/artifacts", params={"job_id": job["id"]}).json()["data"]
    assert [each["sha256"] for each in listed] == [written.sha256]
    with service.client() as client:
        target = client.download(row.id, tmp_path / "copy")
    assert target.read_bytes() == content
    service.files.path_of(written.path).unlink()
    problem(service.http.get(path), 404, "not-found")
    problem(service.http.get("/v1/artifacts/art_0"), 404, "not-found")


def test_the_capabilities_name_what_requests_take(service: RunningService) -> None:
    told = service.http.get("/v1/capabilities").json()

    assert {"uniform", "random", "amc"} <= {each["name"] for each in told["searchers"]}
    assert {"digits", "fashion-mnist"} <= set(told["datasets"])
    assert "l1" in told["criteria"]
    assert "kmeans" in told["quantisers"]
    assert "bit_split" not in told["quantisers"]
    resnet = next(each for each in told["architectures"] if each["name"] == "resnet-20")
    assert resnet["config"]["image_size"] == 32
    assert set(told["file_formats"]) == {"safetensors", "pt2", "npz", "zip", "parquet"}
    assert told["limits"]["max_upload_bytes"] == 3_000_000
    assert told["versions"]["torch"]
    json.dumps(told, allow_nan=False)
