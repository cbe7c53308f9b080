"""`POST /v1/models/{id}/micronet`: what it submits, and what it refuses."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from automl_api.cli import app
from tests.api.conftest import RunningService, job_body, problem


def submit(service: RunningService, model: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    response = service.post(f"/v1/models/{model['id']}/micronet", body)
    assert response.status_code == 202, response.text
    assert response.headers["Location"] == f"/v1/jobs/{response.json()['id']}"
    return response.json()


def test_by_hand_it_submits_the_winners_policy_and_their_stages(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    study = submit(service, model, {"dataset_id": dataset["id"]})["study"]

    assert study["searcher"] == "micronet"
    assert study["budget"] == {"metric": "micronet", "ratio": 1.0}
    told = study["confirmation"]
    assert (told["recipe"], told["finetune_epochs"], told["floor_points"]) == ("micronet", 2, 2.0)
    assert (told["distillation_weight"], told["distillation_direction"]) == (1.0, "reverse")


def test_a_search_gets_shares_of_what_the_hand_set_policy_scores(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    body = {"dataset_id": dataset["id"], "searcher": "auto"}

    usual = submit(service, model, body)["study"]
    several = submit(service, model, {**body, "shares": [0.9, 0.6]})["study"]
    mild = submit(service, model, {**body, "hand_set": {"sparsity": 0.5}})["study"]

    ratio = usual["budget"]["ratio"] / 0.95
    assert 0.05 < ratio < 0.1  # storage weighs most here: a mask, and a quarter of them at 4 bits
    assert several["budget"]["ratio"] == pytest.approx(0.9 * ratio)
    assert several["smaller_ratios"] == [pytest.approx(0.6 * ratio)]
    assert mild["budget"]["ratio"] > usual["budget"]["ratio"]


@pytest.mark.parametrize(("hand_set", "bits"), [({}, [4, 5, 6, 7, 8]), ({"weight_bits": 16}, [16])])
def test_a_search_begins_at_the_bits_of_the_hand_set_policy(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    hand_set: dict[str, Any],
    bits: list[int],
) -> None:
    body = {"dataset_id": dataset["id"], "searcher": "auto", "hand_set": hand_set}

    study = submit(service, model, body)["study"]

    assert study["space"]["weight_bits"] == bits
    assert study["space"]["activation_bits"] == [4, 5, 6, 7, 8, 32]
    assert study["space"]["edge_bits"] == 8
    assert study["recipe"]["repair"] == "distillation"


@pytest.mark.parametrize(
    ("change", "pointer", "advice"),
    [
        ({"shares": [0.9]}, "/shares", "name another one, as 'auto'"),
        ({"searcher_options": {"levels": 3}}, "/searcher_options", "searches nothing"),
        ({"hand_set": {"sparsety": 0.5}}, "/hand_set", "it has: "),
        ({"hand_set": {"sparsity": 1.0}}, "/hand_set", "from 0 to below 1"),
        ({"hand_set": {"weight_bits": 9}}, "/hand_set", "choose one of"),
        ({"hand_set": {"weight_bits": "4"}}, "/hand_set", "an integer"),
        ({"searcher": "genetic"}, "/searcher", "auto"),
        ({"searcher": "au\x9ato"}, "/searcher", "pattern"),
        ({"finetune_epochs": 0}, "/finetune_epochs", "greater than or equal to 1"),
        ({"floor_points": 101}, "/floor_points", "less than or equal to 100"),
        ({"precision": "float16"}, "/precision", "bfloat16"),
        ({"searcher": "auto", "shares": []}, "/shares", "at least 1"),
        ({"searcher": "auto", "shares": [1.5]}, "/shares/0", "less than or equal to 1"),
        ({"dataset_id": "dst_00000000000000000000"}, "/dataset_id", "no data set"),
        ({"priority": 5, "searcher": "tec"}, "/searcher", "choose one that can"),
    ],
)
def test_what_cannot_be_done_is_refused_with_advice(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    change: dict[str, Any],
    pointer: str,
    advice: str,
) -> None:
    body = {"dataset_id": dataset["id"], **change}

    response = service.post(f"/v1/models/{model['id']}/micronet", body)

    code = (
        "unknown-name"
        if pointer in ("/dataset_id",) or change == {"searcher": "genetic"}
        else "invalid"
    )
    errors = problem(response, 422, code)["errors"]
    assert errors[0]["pointer"] == pointer
    assert advice in errors[0]["detail"]


def test_a_share_that_no_policy_reaches_is_refused_with_the_smallest_score(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    body = {"dataset_id": dataset["id"], "searcher": "auto", "shares": [0.01]}

    response = service.post(f"/v1/models/{model['id']}/micronet", body)

    assert "smallest policy" in problem(response, 422, "infeasible-budget")["detail"]


def test_shares_fall(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    body = {"dataset_id": dataset["id"], "searcher": "auto", "shares": [0.5, 0.9]}

    response = service.post(f"/v1/models/{model['id']}/micronet", body)

    assert "ratios that fall" in problem(response, 422, "invalid")["detail"]


def test_an_unknown_network_is_not_found(service: RunningService, dataset: dict[str, Any]) -> None:
    response = service.post(
        "/v1/models/mdl_00000000000000000000/micronet", {"dataset_id": dataset["id"]}
    )

    problem(response, 404, "not-found")


@pytest.mark.parametrize(
    ("confirmation", "advice"),
    [
        ({"recipe": "micronet"}, "a weight above 0"),
        ({"recipe": "micronet", "distillation_weight": 1.0}, "schemes with 'element'"),
        ({"floor_points": 1.0}, "set the recipe to 'micronet'"),
    ],
)
def test_a_search_whose_confirmation_cannot_go_by_stages_is_refused(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    confirmation: dict[str, Any],
    advice: str,
) -> None:
    body = job_body(model, dataset, confirmation=confirmation)

    assert advice in problem(service.post("/v1/jobs", body), 422, "invalid")["detail"]


def test_a_job_of_another_recipe_has_no_stages(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = service.post("/v1/jobs", job_body(model, dataset)).json()

    assert service.http.get(f"/v1/jobs/{job['id']}/stages").json() == {"data": []}
    problem(service.http.get("/v1/jobs/job_00000000000000000000/stages"), 404, "not-found")
    unprofiled = service.http.get(f"/v1/jobs/{job['id']}/layer-sensitivity")
    assert "profiled no layers" in problem(unprofiled, 404, "not-found")["detail"]


def test_the_same_request_under_a_key_gives_the_same_job(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    path, body = f"/v1/models/{model['id']}/micronet", {"dataset_id": dataset["id"]}
    key = {"Idempotency-Key": "stages"}

    first = service.post(path, body, **key).json()

    assert service.post(path, body, **key).json()["id"] == first["id"]
    other = service.post(path, {**body, "seed": 1}, **key)
    problem(other, 422, "idempotency-mismatch")


def test_the_command_line_submits_a_search_of_ratios_and_bits(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    told = ["--searcher", "auto", "--share", "90%,60%", "--by-hand", "sparsity=0.5"]
    told += ["--images", "64", "--precision", "bfloat16", "--url", service.url, "--json"]

    done = CliRunner().invoke(app, ["micronet", model["id"], dataset["id"], *told])

    assert done.exit_code == 0, done.output
    study = json.loads(done.stdout)["study"]
    body = {"dataset_id": dataset["id"], "searcher": "auto", "hand_set": {"sparsity": 0.5}}
    usual = submit(service, model, body)["study"]
    share = study["budget"]["ratio"] / usual["budget"]["ratio"]
    assert share == pytest.approx(0.9 / 0.95)
    assert study["smaller_ratios"] == [pytest.approx(study["budget"]["ratio"] * 0.6 / 0.9)]
    assert (study["recipe"]["images"], study["confirmation"]["precision"]) == (64, "bfloat16")
