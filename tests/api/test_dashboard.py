"""The pages as the service sends them; what scripts make of them is tested in `browser`."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from automl_api.dashboard import STATIC_FOLDER
from automl_api.settings import Settings
from automl_compress.core import Choice, LayerChoice, Policy, Suggestion, Trial, TrialState
from automl_compress.store import JobState, SqlTrialStore, jobs, policies
from automl_compress.store.tables import JobRow
from tests.api.conftest import (
    DIGITS_CONFIG,
    RunningService,
    job_body,
    problem,
    running_service,
)
from tests.api.dashboard_pages import HOSTILE, Links, store_trials
from tests.api.test_jobs import document, submit


@pytest.fixture(scope="module")
def job(service: RunningService, model: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
    """A job of a hostile name with 30 trials, as many as fill a page and a bit."""
    created = submit(service, job_body(model, dataset) | {"name": HOSTILE})
    store_trials(
        service, created["id"], [each["name"] for each in model["groups"]], range(30_000, 0, -1000)
    )
    return created


@pytest.fixture(scope="module")
def policy_id(service: RunningService, job: dict[str, Any]) -> str:
    with service.database.session() as session:
        return policies.add(session, document(0.4).to_json(), job_id=job["id"], trial_number=3).id


@pytest.fixture(scope="module")
def other_policy_id(service: RunningService, job: dict[str, Any], policy_id: str) -> str:
    with service.database.session() as session:
        return policies.add(session, document(0.3).to_json(), job_id=job["id"], trial_number=4).id


@pytest.fixture
def addresses(job: dict[str, Any], policy_id: str, other_policy_id: str) -> list[str]:
    return [
        "/",
        "/new",
        "/models",
        f"/models/{job['model_id']}",
        "/datasets",
        f"/datasets/{job['dataset_id']}",
        f"/datasets/{job['dataset_id']}/images",
        "/system",
        "/compare",
        f"/compare?job={job['id']}",
        f"/jobs/{job['id']}",
        f"/policies/{policy_id}",
        f"/policies/{policy_id}/diff?other={other_policy_id}",
        "/jobs/job_0",
    ]


def test_no_page_holds_anything_inline_or_from_elsewhere(
    service: RunningService, addresses: list[str]
) -> None:
    for address in addresses:
        page = service.http.get(address)

        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        links = Links(page.text)
        assert links.inline == [], address
        assert [each for each in links.addresses if urlsplit(each).netloc] == [], address
        assert "alert(1)</script>" not in page.text, address


def test_every_script_imports_what_there_is() -> None:
    scripts = {path.name: path.read_text() for path in STATIC_FOLDER.glob("*.js")}
    exports = {
        name: set(
            re.findall(r"^export (?:async )?(?:function|const|let) (\w+)", text, re.MULTILINE)
        )
        for name, text in scripts.items()
    }

    for name, text in scripts.items():
        for names, source in re.findall(
            r'^import \{([^}]+)\} from "\./(\w+\.js)";', text, re.MULTILINE
        ):
            wanted = {each.strip() for each in names.split(",")}
            assert wanted <= exports[source], f"{name} wants of {source} what it does not export"


def test_every_link_of_every_page_leads_somewhere(
    service: RunningService, addresses: list[str]
) -> None:
    known: set[str] = set()
    for address in addresses:
        for link in Links(service.http.get(address).text).addresses:
            target = urljoin(address, link).partition("#")[0]
            if target in known or link.startswith(("data:", "#")):
                continue
            known.add(target)
            # A form's action without its fields is understood, and refused.
            expected = 422 if target.endswith("/diff") else 200
            assert service.http.get(target).status_code == expected, (address, link)


@pytest.mark.parametrize("passed_on", ["", "/x/y"], ids=["stripped", "passed on"])
def test_the_pages_work_below_a_prefix(tmp_path: Path, passed_on: str) -> None:
    with running_service(Settings(data_dir=tmp_path, root_path="/x/y")) as running:
        for address in ("/", "/new", "/models", "/datasets", "/system", "/compare", "/jobs/job_0"):
            page = running.http.get(f"{passed_on}{address}")
            assert page.status_code == (404 if "job_0" in address else 200)

            for link in Links(page.text).addresses:
                target = urljoin(f"/x/y{address}", link)  # as the browser sees it
                if not link.startswith(("data:", "#")):
                    assert target.startswith("/x/y/")
                    below = f"{passed_on}{target.removeprefix('/x/y')}"
                    assert running.http.get(below).status_code == 200, (address, link)


def test_the_jobs_can_be_filtered(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    named = submit(service, job_body(model, dataset) | {"name": "the one that is looked for"})
    service.post(f"/v1/jobs/{named['id']}/cancel", {})

    def shows(**wanted: str) -> bool:
        return named["id"] in service.http.get("/", params=wanted).text

    assert shows()
    assert shows(status="cancelled", text="LOOKED for")
    assert not shows(status="queued")
    assert not shows(text="something else")
    newest_last = service.http.get("/", params={"sort": "created", "order": "asc"}).text
    assert newest_last.index(named["id"]) == max(
        newest_last.index(each["id"]) for each in service.http.get("/v1/jobs").json()["data"]
    )
    assert service.http.get("/", params={"sort": "policy"}).status_code == 422
    wrong = service.http.get("/", params={"status": "bogus"})
    assert wrong.status_code == 422
    assert "no job is ever &#39;bogus&#39;" in wrong.text
    assert "queued, validating, profiling, running" in wrong.text
    assert "No job is like this" in service.http.get("/", params={"text": "something else"}).text


def test_an_empty_service_tells_the_next_command(tmp_path: Path) -> None:
    with running_service(Settings(data_dir=tmp_path)) as running:
        page = running.http.get("/").text

    assert "automl-compress search" in page
    assert 'href="./new"' in page
    assert 'id="selection"' not in page, "there is nothing yet to filter or to choose"


def test_the_trials_are_sorted_and_paged_by_the_service(
    service: RunningService, job: dict[str, Any]
) -> None:
    def numbers(**wanted: Any) -> list[int]:
        page = service.http.get(f"/jobs/{job['id']}", params=wanted).text
        table = page[page.index('id="trials"') :]
        return [int(each) for each in re.findall(r'<tr data-key="(\d+)"', table)]

    assert numbers() == [*range(29, 4, -1)]
    assert numbers(page=2) == [4, 3, 2, 1, 0]
    assert numbers(sort="macs", order="asc")[:3] == [29, 28, 27]
    assert numbers(sort="score", order="asc")[:3] == [0, 1, 2]
    assert numbers(page=99) == numbers(page=2)


def test_latency_is_a_column_where_the_study_has_a_target(
    service: RunningService, job: dict[str, Any]
) -> None:
    def page() -> str:
        return service.http.get(f"/jobs/{job['id']}", params={"sort": "latency_ns"}).text

    def aim_at(target: str | None) -> None:
        with service.database.session() as session:
            row = session.get_one(JobRow, job["id"])
            row.spec = {**row.spec, "study": {**row.spec["study"], "target": target}}

    assert "Latency, ns" not in page()
    aim_at("cpu-openvino")
    assert "Latency, ns" in page()
    aim_at(None)


def test_a_trial_can_be_chosen(service: RunningService, job: dict[str, Any]) -> None:
    page = service.http.get(f"/jobs/{job['id']}", params={"trial": 15}).text

    assert "Policy of trial 15" in page
    kept = re.search(r'data-group="conv1" data-kept="(\d+)" data-channels="16"', page)
    assert kept is not None
    assert int(kept[1]) == round(16 * (1 - 15 / 31))


def test_bits_and_zeros_of_a_policy_are_told_layer_by_layer(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    created = submit(service, job_body(model, dataset))
    layers = (LayerChoice("conv1", weight_bits=4, activation_bits=8), LayerChoice("linear", 0.25))
    groups = [each["name"] for each in model["groups"]]
    store_trials(service, created["id"], groups, [1000], layers=layers)

    page = service.http.get(f"/jobs/{created['id']}", params={"trial": 0}).text

    report = service.http.get(f"/v1/jobs/{created['id']}/report.html").text
    for told in (page, report):
        assert "<td>weights 4, inputs 8; float</td>" in told, "of the layers of conv1's group"
        assert "<td>weights 4, inputs 8</td>" in told
    assert 'data-bits="weights 4, inputs 8; float"' in page, "of the layers of conv1's group"
    assert '<td>float</td><td class="number">25 %</td>' in page


def test_what_the_searcher_does_is_told_in_words(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    created = submit(service, job_body(model, dataset))
    with service.database.session() as session:
        for state in ("validating", "profiling", "running"):
            jobs.move(session, created["id"], JobState(state))

    def told() -> str:
        page = service.http.get(f"/jobs/{created['id']}").text
        found = re.search(r'<p class="doing">([^<]+)</p>', page)
        assert found is not None
        return found[1]

    assert told() == "Now: the searcher chooses the first policy"
    policy = Policy(tuple(Choice(each["name"], 0.5) for each in model["groups"]))
    store = SqlTrialStore(service.database, created["id"])
    store.asked(Suggestion(0, policy, "what conv1 bears", role="probe"))
    assert told() == (
        "Now: trial 0, a probe, which finds out and cannot win, is measured: what conv1 bears"
    )
    store.told(Trial(0, policy, TrialState.FAILED, failure="it broke", role="probe"))
    assert "chooses what comes after trial 0" in told()


def test_the_points_are_what_the_trials_cost_and_scored(
    service: RunningService, job: dict[str, Any]
) -> None:
    answer = service.http.get(f"/jobs/{job['id']}/points")

    told = answer.json()
    trials = service.http.get(f"/v1/jobs/{job['id']}/trials").json()["data"]
    assert answer.headers["Content-Encoding"] == "gzip"
    assert told["number"] == [each["number"] for each in trials]
    assert told["evaluations"] == [each["number"] + 1 for each in trials]
    for metric, costs in told["cost"].items():
        assert costs == [each["measurement"]["cost"][metric] for each in trials]
    assert told["accuracy"] == [round(each["measurement"]["accuracy"], 6) for each in trials]
    assert told["seq"] == service.http.get(f"/v1/jobs/{job['id']}").json()["last_event_seq"]
    # Without a portfolio a searcher's notes may say anything.
    assert set(told["searcher"]) == {"random"}
    problem(service.http.get("/jobs/job_0/points"), 404, "not-found")


@pytest.mark.parametrize(
    ("wanted", "status", "says"),
    [
        ({"sort": "policy"}, 422, "size_bytes"),
        ({"trial": "100"}, 404, "no trial 100"),
        ({"page": "-1"}, 422, "page"),
    ],
)
def test_what_a_page_cannot_show_is_told_on_a_page(
    service: RunningService, job: dict[str, Any], wanted: dict[str, str], status: int, says: str
) -> None:
    page = service.http.get(f"/jobs/{job['id']}", params=wanted)

    assert page.status_code == status
    assert page.headers["Content-Type"].startswith("text/html")
    assert says in page.text
    assert page.headers["X-Request-Id"] in page.text


def test_a_failed_job_shows_its_problem(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    failed = submit(service, job_body(model, dataset))
    error = {"title": "The network cannot be used", "detail": f"it broke: {HOSTILE}"}
    with service.database.session() as session:
        jobs.move(session, failed["id"], JobState.FAILED, error=error)

    page = service.http.get(f"/jobs/{failed['id']}").text

    assert "The network cannot be used" in page
    assert "it broke: &lt;script&gt;" in page
    assert "The problem document" in page
    assert "/cancel" not in page


def test_the_live_part_leaves_out_what_is_expensive(
    service: RunningService, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_expensive(*_: object) -> None:
        raise AssertionError("the profile was put together")

    monkeypatch.setattr("automl_api.dashboard.endpoints.sensitivity_view", too_expensive)

    page = service.http.get(f"/jobs/{job['id']}", headers={"X-Part": "live"})

    assert page.status_code == 200
    assert 'id="bars-table"' in page.text


def test_the_policy_page_shows_how_to_apply_it(service: RunningService, policy_id: str) -> None:
    page = service.http.get(f"/policies/{policy_id}").text

    assert "apply_policy(uncut" in page
    assert "100 → 40 (40.0 %)" in page
    assert f'href="../v1/policies/{policy_id}" download="policy.json"' in page


def test_the_report_is_one_file(service: RunningService, job: dict[str, Any]) -> None:
    report = service.http.get(f"/v1/jobs/{job['id']}/report.html")

    assert report.status_code == 200
    assert [each for each in Links(report.text).addresses if each != "data:,"] == []
    assert "<script" not in report.text
    assert report.text.count('<circle class="searched"') == 30
    twin = report.text.partition("The picture as a table</summary>")[2].partition("</details>")[0]
    assert twin.count("<tr>") == 1 + 30
    cheapest_and_best = re.findall(r'<th scope="row">(\d+)</th>.*<td>yes</td></tr>', twin)
    assert cheapest_and_best == ["29"]
    assert "<td>random</td>" in twin, "who asked for it"
    style = report.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in report.headers["Content-Security-Policy"]
    problem(service.http.get("/v1/jobs/job_0/report.html"), 404, "not-found")


def test_the_configuration_of_the_digits_is_in_the_form(service: RunningService) -> None:
    page = service.http.get("/new").text

    assert "SPDY" in page, "the searchers' summaries are there to choose by"
    assert all(name in page for name in DIGITS_CONFIG)


def test_a_search_can_be_extended_and_copied_from_its_page(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    created = submit(service, job_body(model, dataset))
    page = f"/jobs/{created['id']}"

    going_on = service.http.get(page).text
    service.http.post(f"/v1/jobs/{created['id']}/cancel")
    ended = service.http.get(page).text

    assert "data-extend" in going_on, "its own effort is raised"
    assert f'new?clone={created["id"]}"' in going_on
    assert "data-extend" not in ended
    assert f'new?clone={created["id"]}&amp;evaluations=20"' in ended, "twice as many, in a copy"
