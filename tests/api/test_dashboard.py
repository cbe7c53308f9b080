"""The pages as the service sends them; what scripts make of them is tested in `browser`."""

import base64
import hashlib
import re
from collections.abc import Generator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from automl_api.session import LIFETIME_SECONDS, is_session, new_session
from automl_api.settings import Settings
from automl_compress.core import (
    Choice,
    Cost,
    Measurement,
    Policy,
    Recipe,
    Suggestion,
    Trial,
)
from automl_compress.core import TrialState as State
from automl_compress.store import JobState, SqlTrialStore, jobs, policies
from tests.api.conftest import (
    DIGITS_CONFIG,
    RunningService,
    job_body,
    problem,
    running_service,
)
from tests.api.test_jobs import document, submit

HOSTILE = "<script>alert(1)</script> \u202egnp.exe & \"quoted\" 'twice'"


class Links(HTMLParser):
    """Collects addresses, and everything that a strict content policy would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            if name in ("href", "src", "action"):
                self.addresses.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


def store_trials(service: RunningService, job_id: str, groups: list[str], count: int) -> None:
    store = SqlTrialStore(service.database, job_id)
    for number in range(count):
        sparsity = number / (count + 1)
        policy = Policy(tuple(Choice(group, sparsity) for group in groups))
        store.asked(Suggestion(number, policy, HOSTILE))
        measurement = Measurement(
            cost=Cost(1000 * (count - number), 100, 400),
            score=number / count,
            correct=number,
            total=count,
            cross_entropy=None,
            kl=None,
            split="search: rows",
            fidelity="proxy",
            recipe=Recipe(),
            seed=0,
            evaluations=1.0,
            wall_seconds=0.1,
            cpu_seconds=0.1,
        )
        store.told(Trial(number, policy, State.COMPLETE, measurement, note=HOSTILE))


@pytest.fixture(scope="module")
def job(service: RunningService, model: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
    """A job of a hostile name with 30 trials, as many as fill a page and a bit."""
    created = submit(service, job_body(model, dataset) | {"name": HOSTILE})
    store_trials(service, created["id"], [each["name"] for each in model["groups"]], 30)
    return created


@pytest.fixture(scope="module")
def policy_id(service: RunningService, job: dict[str, Any]) -> str:
    with service.database.session() as session:
        return policies.add(session, document(0.4).to_json(), job_id=job["id"], trial_number=3).id


@pytest.fixture
def addresses(job: dict[str, Any], policy_id: str) -> list[str]:
    return ["/", "/new", f"/jobs/{job['id']}", f"/policies/{policy_id}", "/jobs/job_0"]


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


def test_every_link_of_every_page_leads_somewhere(
    service: RunningService, addresses: list[str]
) -> None:
    for address in addresses:
        for link in Links(service.http.get(address).text).addresses:
            target = urljoin(address, link)
            if not link.startswith(("data:", "#")):
                assert service.http.get(target).status_code == 200, (address, link)


@pytest.mark.parametrize("passed_on", ["", "/x/y"], ids=["stripped", "passed on"])
def test_the_pages_work_below_a_prefix(tmp_path: Path, passed_on: str) -> None:
    with running_service(Settings(data_dir=tmp_path, root_path="/x/y")) as running:
        for address in ("/", "/new", "/jobs/job_0"):
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
    assert "No job is like this" in service.http.get("/", params={"text": "something else"}).text


def test_an_empty_service_tells_the_next_command(tmp_path: Path) -> None:
    with running_service(Settings(data_dir=tmp_path)) as running:
        page = running.http.get("/").text

    assert "automl-compress search" in page
    assert 'href="./new"' in page


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


def test_a_trial_can_be_chosen(service: RunningService, job: dict[str, Any]) -> None:
    page = service.http.get(f"/jobs/{job['id']}", params={"trial": 15}).text

    assert "Policy of trial 15" in page
    kept = re.search(r'data-group="conv1" data-kept="(\d+)" data-channels="16"', page)
    assert kept is not None
    assert int(kept[1]) == round(16 * (1 - 15 / 31))


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
    assert "/cancel" not in page


def test_the_live_part_leaves_out_what_is_expensive(
    service: RunningService, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_expensive(*_: object) -> None:
        raise AssertionError("the profile was put together")

    monkeypatch.setattr("automl_api.dashboard.endpoints.sensitivity_of", too_expensive)

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
    style = report.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in report.headers["Content-Security-Policy"]
    problem(service.http.get("/v1/jobs/job_0/report.html"), 404, "not-found")


# ---------------------------------------------------------------------- signing in

KEY = "a key of the tests"
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningService]:
    directory = tmp_path_factory.mktemp("locked")
    with running_service(Settings(data_dir=directory, key=SecretStr(KEY))) as running:
        yield running


def sign_in(locked: RunningService, key: str = KEY, wanted: str = "/new") -> httpx.Response:
    data = {"key": key, "next": wanted}
    origin = {"Origin": locked.url}
    with httpx.Client(base_url=locked.url, trust_env=False) as browser:
        return browser.post("/sign-in", data=data, headers=origin)


def test_a_browser_is_asked_for_the_key_and_led_back(locked: RunningService) -> None:
    asked = locked.http.get("/jobs/job_0?page=2", headers=BROWSER)
    form = locked.http.get(urljoin("/jobs/job_0", asked.headers["Location"]))
    answer = sign_in(locked, wanted="/jobs/job_0?page=2")

    assert asked.status_code == 303
    assert form.status_code == 200
    assert 'value="/jobs/job_0?page=2"' in form.text
    assert urljoin("/sign-in", answer.headers["Location"]) == "/jobs/job_0?page=2"
    problem(locked.http.get("/v1/jobs", headers=BROWSER), 401, "unauthorized")


def test_a_session_opens_pages_and_interface_and_does_not_hold_the_key(
    locked: RunningService,
) -> None:
    cookie = sign_in(locked).headers["Set-Cookie"]
    headers = {"Cookie": cookie.partition(";")[0]}

    assert {"HttpOnly", "SameSite=strict"} <= {each.strip() for each in cookie.split(";")}
    assert KEY not in cookie
    assert locked.http.get("/", headers=headers | BROWSER).status_code == 200
    assert locked.http.get("/v1/jobs", headers=headers).status_code == 200
    assert sign_in(locked, key="wrong").status_code == 403


@pytest.mark.parametrize(
    "told",
    [
        {"Origin": "http://elsewhere.invalid"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_another_sites_page_sends_is_refused(
    locked: RunningService, service: RunningService, told: dict[str, str]
) -> None:
    cookie = sign_in(locked).headers["Set-Cookie"].partition(";")[0]

    refused = locked.http.post("/v1/jobs/job_0/cancel", headers={"Cookie": cookie, **told})
    problem(refused, 403, "forbidden")
    problem(service.http.post("/v1/jobs/job_0/cancel", headers=told), 403, "forbidden")
    for ours in ({"Origin": locked.url}, {"Sec-Fetch-Site": "same-origin"}):
        taken = locked.http.post("/v1/jobs/job_0/cancel", headers={"Cookie": cookie, **ours})
        problem(taken, 404, "not-found")


@pytest.mark.parametrize("wanted", ["//elsewhere.invalid", "https://elsewhere.invalid", "\\\\e"])
def test_signing_in_leads_nowhere_else(locked: RunningService, wanted: str) -> None:
    answer = sign_in(locked, wanted=wanted)

    target = urljoin(f"{locked.url}/sign-in", answer.headers["Location"])
    assert urlsplit(target).netloc == urlsplit(locked.url).netloc


def test_without_a_session_only_what_the_form_needs_is_open(locked: RunningService) -> None:
    assert locked.http.get("/static/style.css").status_code == 200
    assert locked.http.get("/static/../v1/jobs").status_code == 401
    assert locked.http.get("/static/%2e%2e/app.py").status_code == 404
    assert locked.http.post("/sign-out").status_code == 401


def test_a_session_ends_and_cannot_be_made_up() -> None:
    session = new_session(KEY, now=1000.0)
    ends, _, code = session.partition(".")

    assert is_session(KEY, session, now=1000.0 + LIFETIME_SECONDS - 1)
    assert not is_session(KEY, session, now=1000.0 + LIFETIME_SECONDS + 1)
    assert not is_session("another key", session, now=1000.0)
    assert not is_session(KEY, f"{int(ends) + 1}.{code}", now=1000.0)
    for nonsense in ("", ".", "x.y", f"{ends}.", "ä.ö"):
        assert not is_session(KEY, nonsense, now=1000.0)


def test_the_configuration_of_the_digits_is_in_the_form(service: RunningService) -> None:
    page = service.http.get("/new").text

    assert "SPDY" in page, "the searchers' summaries are there to choose by"
    assert all(name in page for name in DIGITS_CONFIG)
