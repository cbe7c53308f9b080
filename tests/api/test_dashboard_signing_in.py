"""A browser that signs in, and pages of other sites that try to use its session."""

from collections.abc import Generator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from automl_api.settings import Settings
from tests.api.conftest import RunningService, problem, running_service

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


@pytest.mark.parametrize(
    ("sent_to", "page"),
    [("/keys", "/keys"), ("/keys/key_0/revoke", "/keys"), ("/sign-out", "/")],
)
def test_a_form_without_a_session_leads_to_the_sign_in_page(
    locked: RunningService, sent_to: str, page: str
) -> None:
    answer = locked.http.post(sent_to, data={"account": "a"}, headers=BROWSER)

    assert answer.status_code == 303
    target = urljoin(sent_to, answer.headers["Location"])
    assert target == f"/sign-in?next={page}"


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
