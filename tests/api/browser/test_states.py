"""A job that runs, of several searchers, and one that failed, in a real browser."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from automl_api.client import Client
from automl_compress.store import JobState, jobs
from benchmarks.dashboard_scene import Stage, Trials, stage
from tests.api.browser.conftest import KEY, Opened, serving, violations

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.slow]

PATIENCE_MS = 120_000
TRIALS = 60


@dataclass(frozen=True)
class Scene:
    """A service without a worker, a job of a portfolio that runs, and one that failed."""

    stage: Stage
    running: str
    failed: str

    @property
    def notes(self) -> dict[int, str]:
        """Who asked for each trial of the running job, by its number."""
        with Client(self.stage.url, KEY) as client:
            told = client.job(self.running).trials()
            return {each["number"]: each["note"].partition(":")[0] for each in told}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with stage(tmp_path_factory.mktemp("states")) as told:
        running, failed = told.running_job("running"), told.running_job("failed")
        Trials(told, running).store(TRIALS)
        error = {"title": "The network cannot be used", "detail": "it broke: <b>here</b>"}
        with told.database.session() as session:
            jobs.move(session, failed, JobState.FAILED, error=error)
        yield Scene(told, running, failed)


@pytest.fixture
def page(chromium: Browser, scene: Scene) -> Iterator[Page]:
    context = chromium.new_context(base_url=scene.stage.url, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    opened = Opened(context.new_page(), scene.stage.url)
    sign_in(opened.page)
    yield opened.page
    opened.check()
    context.close()


def test_a_front_of_several_searchers_says_whose_each_point_is(page: Page, scene: Scene) -> None:
    notes = scene.notes
    page.goto(f"/jobs/{scene.running}")
    picture = page.locator("#front svg[role=img]")
    expect(picture).to_be_visible(timeout=PATIENCE_MS)

    legend = page.get_by_role("list", name="The searchers and their trials").get_by_role("listitem")
    counts = Counter(notes.values())
    told = {each.strip() for each in legend.all_text_contents()}
    assert told == {f"{name} ({count})" for name, count in counts.items()}
    looks = page.locator("#searchers path").all()
    assert len({each.get_attribute("d") for each in looks}) == len(counts), "shapes differ"
    assert len({each.get_attribute("stroke") for each in looks}) == len(counts), "colours differ"
    expect(picture.locator("path.cloud")).to_have_count(len(counts))

    page.get_by_text("The front as a table").click()
    for row in page.locator("#front-table tbody tr").all():
        number, kind, searcher = row.locator("th, td").all_text_contents()[:3]
        assert (kind, searcher) == ("searched", notes[int(number)])

    picture.locator("g[fill='var(--raised)'] path").first.hover(force=True)
    tip = re.compile(rf"trial \d+, ({'|'.join(counts)})\b")
    expect(picture).to_contain_text(tip)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_state_keeps_anyone_out(
    chromium: Browser, scene: Scene, theme: Literal["light", "dark"]
) -> None:
    page = signed_in(chromium, scene.stage.url, theme)
    found: dict[str, list[str]] = {}
    page.goto(f"/jobs/{scene.running}")
    expect(page.locator("#front svg[role=img]")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("p.doing")).to_be_visible()
    found["running"] = violations(page)
    page.goto(f"/jobs/{scene.failed}")
    expect(page.get_by_role("alert")).to_contain_text("it broke: <b>here</b>")
    expect(page.locator("#front")).to_have_text("No candidate was measured yet.")
    found["failed"] = violations(page)
    page.goto("/new")
    page.get_by_role("combobox", name="Searcher").select_option("portfolio")
    found["several searchers"] = violations(page)
    page.get_by_role("combobox", name="Searcher").select_option("agmc")
    found["options"] = violations(page)
    page.goto("/keys")
    page.get_by_label("Account").fill(f"team-{theme}")
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_role("heading", name="The new key")).to_be_visible()
    found["a new key"] = violations(page)
    page.context.clear_cookies()
    page.get_by_label("Account").fill("another")
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found["a session that ended"] = violations(page)
    page.context.close()

    assert {state: each for state, each in found.items() if each} == {}


@pytest.fixture(scope="module")
def empty_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("empty"), "--no-worker") as url:
        yield url


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_empty_service_keeps_nobody_out(
    chromium: Browser, empty_url: str, theme: Literal["light", "dark"]
) -> None:
    page = signed_in(chromium, empty_url, theme)
    found: dict[str, list[str]] = {}
    for path in ("/", "/new", "/models", "/datasets", "/system", "/compare", "/keys"):
        page.goto(path)
        if path == "/new":
            expect(page.locator("#as-json")).not_to_be_empty()
        found[path] = violations(page)
    page.context.close()

    assert {path: each for path, each in found.items() if each} == {}


def signed_in(chromium: Browser, url: str, theme: Literal["light", "dark"]) -> Page:
    """Return a page into which axe may be brought, which the content policy rightly refuses."""
    context = chromium.new_context(
        base_url=url, reduced_motion="reduce", color_scheme=theme, bypass_csp=True
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    sign_in(page)
    return page


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("Key for this service").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
