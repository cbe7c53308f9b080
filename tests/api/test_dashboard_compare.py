"""The pages on which jobs and policies are compared."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_api.dashboard.channel_map import lanes
from automl_api.dashboard.configuration import differences, flattened
from automl_api.dashboard.spread import spread
from automl_api.jobs.hypervolume import STEPS_OF_A_JOB, Front, reached
from automl_compress.core import Cost, LayerChoice
from automl_compress.core.document import GroupRow, LayerRow, PolicyDocument
from automl_compress.core.execution import Execution, ExecutionChange, LayerExecution
from automl_compress.core.layer_rows import LayerQuantisation
from automl_compress.search.pareto import hypervolume
from automl_compress.store import JobState, jobs, policies
from automl_compress.store.points import Point
from tests.api.conftest import RunningService, job_body
from tests.api.dashboard_pages import HOSTILE, store_trials
from tests.api.test_jobs import document, submit

ACCURACIES = {0: 0.90, 1: 0.92, 2: 0.97}


def finish(service: RunningService, job_id: str, accuracy: float) -> str:
    """Bring a job to its end, as a worker would; return the id of its policy."""
    test = {"accuracy": accuracy, "cost": {"macs": 500, "parameters": 50, "size_bytes": 200}}
    with service.database.session() as session:
        policy = policies.add(session, document(0.5).to_json(), job_id=job_id, trial_number=3)
        for state in ("validating", "profiling", "running", "finalizing", "succeeded"):
            row = jobs.move(session, job_id, JobState(state))
        row.result = {
            "policies": [{"policy_id": policy.id, "trial_number": 3, "test": test}],
            "baseline": {"accuracy": 0.99},
        }
    return policy.id


@pytest.fixture(scope="module")
def seeds(service: RunningService, model: dict[str, Any], dataset: dict[str, Any]) -> list[str]:
    """Three finished jobs that differ by their seeds, and one of another searcher."""
    groups = [each["name"] for each in model["groups"]]
    found: list[str] = []
    for seed, accuracy in ACCURACIES.items():
        body = job_body(model, dataset, seed=seed) | {"name": f"{HOSTILE} {seed}"}
        created = submit(service, body)
        store_trials(service, created["id"], groups, range(1000 + 370 * seed, 9000, 1300))
        finish(service, created["id"], accuracy)
        found.append(created["id"])
    other = submit(service, job_body(model, dataset, searcher="uniform") | {"name": "uniform"})
    return [*found, other["id"]]


def compared(service: RunningService, ids: list[str], **wanted: str) -> str:
    answer = service.http.get("/compare", params={"job": ids, **wanted})
    assert answer.status_code == 200
    return answer.text


def test_jobs_that_differ_by_seed_alone_are_taken_together(
    service: RunningService, seeds: list[str]
) -> None:
    page = compared(service, seeds)

    table = page[page.index('id="seeds-table"') : page.index('id="fronts"')]
    assert table.count("<tr>") == 3, "the head, the three seeds, the other searcher"
    assert "0, 1, 2" in table
    assert "93.00 % ± 3.61" in table, "the mean and the sample deviation of 90, 92 and 97 %"
    assert "6.00 ± 3.61" in table, "the drop from 99 %"


def test_without_seeds_to_compare_the_page_says_how_to_get_them(
    service: RunningService, seeds: list[str]
) -> None:
    assert "--seed 1" in compared(service, [seeds[0], seeds[3]])


def test_only_what_differs_stands_in_the_table_of_differences(
    service: RunningService, seeds: list[str]
) -> None:
    page = compared(service, [seeds[0], seeds[3]])

    differing = page[page.index('id="differing-table"') : page.index('id="equal-table"')]
    assert re.findall(r'<tr><th scope="row">([^<]+)', differing) == ["searcher"]
    assert '<td class="wrap" dir="auto">uniform</td>' in differing
    assert "budget.ratio" in page[page.index('id="equal-table"') :]


def test_the_joint_front_holds_what_no_job_beats(service: RunningService, seeds: list[str]) -> None:
    page = compared(service, seeds)
    rows = re.findall(
        r'<tr data-job="(\d)"[^>]* data-share="([^"]+)" data-accuracy="([^"]+)"([^>]*)>', page
    )

    searched = [
        (float(x), float(y), "front" in told) for _, x, y, told in rows if "confirmed" not in told
    ]
    assert len(searched) > 10
    for share, accuracy, is_on_front in searched:
        beaten = any(
            (x <= share and y > accuracy) or (x < share and y == accuracy) for x, y, _ in searched
        )
        assert is_on_front is not beaten, (share, accuracy)


def test_the_cost_can_be_chosen(service: RunningService, seeds: list[str]) -> None:
    page = compared(service, seeds, metric="parameters")

    assert 'value="parameters" checked' in page
    assert service.http.get("/compare", params={"job": seeds, "metric": "x"}).status_code == 422


def test_jobs_on_other_data_have_no_joint_front(
    service: RunningService, model: dict[str, Any], seeds: list[str]
) -> None:
    scaled = {"mean": [0.4], "std": [0.3]}
    body = {"name": "d", "source": {"kind": "builtin", "name": "digits"}, "normalisation": scaled}
    data = service.post("/v1/datasets", body).json()
    other = submit(service, job_body(model, data))

    page = compared(service, [seeds[0], other["id"]])

    assert "These jobs use different data" in page
    assert "data-front" not in page


def test_the_same_network_registered_twice_is_the_same(
    service: RunningService, dataset: dict[str, Any], seeds: list[str]
) -> None:
    with service.client() as client:
        again = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
    assert again["id"] != dataset["id"]
    job = service.http.get(f"/v1/jobs/{seeds[0]}").json()
    twin = submit(service, job_body({"id": job["model_id"]}, again, seed=9))

    page = compared(service, [seeds[0], twin["id"]])

    assert "different data" not in page
    assert 'id="seeds-table"' in page


@pytest.mark.parametrize(
    ("ids", "status"), [(["job_0"], 404), ([f"job_{n}" for n in range(9)], 422)]
)
def test_what_cannot_be_compared_is_told_on_a_page(
    service: RunningService, ids: list[str], status: int
) -> None:
    page = service.http.get("/compare", params={"job": ids})

    assert page.status_code == status
    assert page.headers["Content-Type"].startswith("text/html")


def test_the_list_of_jobs_leads_to_the_comparison(
    service: RunningService, seeds: list[str]
) -> None:
    page = service.http.get("/").text

    assert '<form id="selection" class="row" method="get" action="./compare">' in page
    assert f'name="job" value="{seeds[0]}" form="selection"' in page


# --------------------------------------------------------------------- two policies


def stored(service: RunningService, job_id: str, content: PolicyDocument, number: int) -> str:
    with service.database.session() as session:
        return policies.add(session, content.to_json(), job_id=job_id, trial_number=number).id


def test_two_policies_are_compared_group_by_group(
    service: RunningService, seeds: list[str]
) -> None:
    here = replace(document(0.5), groups=(GroupRow("conv1", 8, (0, 1, 2, 5), "l1"),))
    there = replace(document(0.3, test=0.8), groups=(GroupRow("conv1", 8, (0, 2, 3), "l1"),))
    one, other = stored(service, seeds[3], here, 10), stored(service, seeds[3], there, 11)

    page = service.http.get(f"/policies/{one}/diff", params={"other": other}).text

    assert 'data-group="conv1" data-channels="8" data-a="4" data-b="3"' in page
    assert '<td class="number">2</td></tr>' in page, "the channels 0 and 2 are kept by both"
    assert "\N{MINUS SIGN}20" in page, "of 100 MACs one keeps 50, the other 30"
    assert "\N{MINUS SIGN}10.00" in page, "points of accuracy"
    assert f'value="{other}"' in service.http.get(f"/policies/{one}").text


def test_policies_of_other_networks_compare_by_their_totals_alone(
    service: RunningService, seeds: list[str]
) -> None:
    here = document(0.5)
    strange = replace(here.model, graph_fingerprint="sha256:" + "f" * 64)
    one = stored(service, seeds[3], here, 12)
    other = stored(service, seeds[3], replace(here, model=strange), 13)

    page = service.http.get(f"/policies/{one}/diff", params={"other": other}).text

    assert "for different networks" in page
    assert "data-group" not in page


def test_bits_of_layers_are_shown_and_compared(service: RunningService, seeds: list[str]) -> None:
    cost = Cost(50, 50, 200, 1)
    plain = LayerRow("conv1", "Conv2d", "conv1", cost, cost)
    coded = LayerQuantisation(LayerChoice("conv1", 0.5, weight_bits=4))
    one = stored(service, seeds[3], replace(document(0.5), layers=(plain,)), 14)
    changed = replace(plain, quantisation=coded)
    other = stored(service, seeds[3], replace(document(0.5), layers=(changed,)), 15)

    page = service.http.get(f"/policies/{other}").text
    assert '<td>weights 4</td><td class="number">50 %</td>' in page
    assert ">Bits<" not in service.http.get(f"/policies/{one}").text
    diff = service.http.get(f"/policies/{one}/diff", params={"other": other}).text
    assert "<td>float</td><td>weights 4</td>" in diff


# ---------------------------------------------------------------- what is below them

SPANS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda each: (each[0], sum(each))),
    max_size=30,
)


@given(SPANS)
def test_lines_in_one_lane_never_touch_and_lanes_are_few(spans: list[tuple[int, int]]) -> None:
    chosen = lanes(spans)

    for index, (start, end) in enumerate(spans):
        for other in range(index):
            first, last = spans[other]
            assert chosen[index] != chosen[other] or end < first or last < start
    meeting = max((sum(a <= place <= b for a, b in spans) for place in range(41)), default=0)
    assert len(set(chosen)) == meeting


def test_the_spread_of_one_value_is_not_told() -> None:
    assert spread([]) is None
    one, two = spread([0.5]), spread([0.4, 0.6])
    assert one is not None
    assert two is not None
    assert (one.mean, one.deviation, one.count) == (0.5, None, 1)
    assert two.deviation == pytest.approx(0.1 * 2**0.5)


def test_a_setting_that_one_job_lacks_differs() -> None:
    told = [flattened({"a": {"b": 1, "c": [1, 2]}}), flattened({"a": {"c": [1, 2]}, "d": {}})]

    differing, equal = differences(told)

    assert [(each.name, each.values) for each in differing] == [
        ("a.b", ["1", ""]),
        ("d", ["", "{}"]),
    ]
    assert [(each.name, each.values) for each in equal] == [("a.c", ["[1, 2]", "[1, 2]"])]


SHARES = st.integers(0, 20).map(lambda each: each / 16)  # some cost more than the whole network
ACCURACIES_TRIED = st.integers(0, 8).map(lambda each: each / 8)


@given(st.lists(st.tuples(SHARES, ACCURACIES_TRIED), max_size=30))
def test_the_front_grows_to_the_area_that_its_points_dominate(
    points: list[tuple[float, float]],
) -> None:
    front = Front()
    for place, (share, accuracy) in enumerate(points):
        before = front.hypervolume

        front.add(share, accuracy)

        told = hypervolume(points[: place + 1], (1.0, 0.0))
        assert front.hypervolume == pytest.approx(told)
        assert front.hypervolume >= before - 1e-12


def point(number: int, macs: int, accuracy: float) -> Point:
    return Point(number, number + 1.0, accuracy, accuracy, (macs, 1, 1, 1, 0), "")


def test_a_jobs_hypervolume_rises_by_steps_and_lasts_to_its_end() -> None:
    points = [point(0, 50, 0.5), point(1, 60, 0.4), point(2, 25, 0.8)]

    steps = reached(3, points, 100, "macs", 10.0)

    # Half of all budgets at 0.5; the second point is beaten; then three quarters at 0.8.
    told = [(each.evaluations, each.hypervolume) for each in steps]
    assert told == [(1.0, 0.25), (3.0, pytest.approx(0.6)), (10.0, pytest.approx(0.6))]
    assert {each.job for each in steps} == {3}
    assert reached(0, [], 100, "macs", 5.0) == []


def test_of_many_steps_the_first_and_the_last_are_kept() -> None:
    points = [point(number, 999 - number, number / 1000) for number in range(999)]

    steps = reached(0, points, 1000, "macs", 1000.0)

    assert len(steps) == STEPS_OF_A_JOB
    assert (steps[0].evaluations, steps[-1].evaluations) == (1.0, 1000.0)


def test_hypervolume_over_time_has_its_table(service: RunningService, seeds: list[str]) -> None:
    page = compared(service, seeds[:2])

    table = page[page.index('id="reached-table"') : page.index('id="policies-title"')]
    assert 'data-job="0"' in table
    assert 'data-job="1"' in table
    told = service.http.get("/v1/compare", params={"job": seeds[:2]}).json()["reached"]
    assert {each["job"] for each in told} == {0, 1}
    assert [each["hypervolume"] for each in told if each["job"] == 0] == sorted(
        each["hypervolume"] for each in told if each["job"] == 0
    )


def test_a_policy_tells_what_was_predicted_and_measured_of_its_latency(
    service: RunningService, seeds: list[str]
) -> None:
    def at(macs: int, latency_ns: int) -> Cost:
        return Cost(macs, 9, 36, 9, latency_ns=latency_ns)

    told = document(0.5)
    timed = replace(
        told,
        before=replace(told.before, latency_ns=2_000_000),
        after=replace(told.after, latency_ns=900_000),
        latency={
            "target": "cpu-openvino",
            "reference_cpu_ms": 2.125,
            "cpu_ms": 1.0,
            "ratio": 0.471,
            "spread": 0.02,
            "plan": {"batch": 1},
        },
        execution=ExecutionChange(
            Execution(4096, (LayerExecution("conv1", "float32", 9000, 5000, 36, 512),)),
            Execution(2048, (LayerExecution("conv1", "int8", 900, 400, 4, 96),)),
        ),
        layers=(
            LayerRow("conv1", "Conv2d", "conv1", at(9, 2_000), at(9, 900)),
            LayerRow("conv2", "Conv2d", None, at(9, 3_000), at(4, 3_000)),  # one block all the same
        ),
    )

    page = service.http.get(f"/policies/{stored(service, seeds[3], timed, 16)}").text

    assert "2,000,000 → 900,000 (45.0 %)" in page
    assert "<dt>Measured on cpu-openvino</dt><dd>2.125 ms → 1.000 ms (47.1 % ± 2.0 %)" in page
    assert "<dd>4.0 KiB → 2.0 KiB, one image in float32</dd>" in page
    assert '<td class="number">2,000 → 900</td>\n<td>time</td>' in page
    assert '<td class="number">3,000</td>\n<td></td>' in page
    assert "Latency is predicted for each layer" in page
    assert 'name="metric" value="latency_ns"' in page
    assert "<dd>5,000 → 400, for hardware that skips zeros</dd>" in page
    assert "memory: fewer bytes make it faster (100 % of the time" in page
    doctored = timed.to_json() | {"latency": None}
    doctored["execution"]["after"] |= {"energy_nanojoules": "none", "bottleneck": "<b>"}
    doctored["execution"]["after"]["layers"][0]["bound"] = "the moon"
    with service.database.session() as session:
        told = policies.add(session, doctored, job_id=seeds[3], trial_number=17)
    found = service.http.get(f"/policies/{told.id}")
    assert (found.status_code, "the moon" in found.text) == (200, False)


def test_the_form_offers_the_engines_whose_latency_can_be_a_budget(
    service: RunningService,
) -> None:
    page = service.http.get("/new").text

    assert 'name="metric" value="latency_ns"' in page
    assert '<select name="target"' in page
    assert "<option>cpu-openvino</option>" in page
