"""A session that ends while a page is open: nobody loses what was typed."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.browser.conftest import KEY, serving

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.slow]

PREFIX = "/x/y"
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service without a worker, below a prefix."""
    data_dir: Path = tmp_path_factory.mktemp("sessions")
    with serving(data_dir, "--no-worker", prefix=PREFIX) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """A page that is signed in."""
    context = chromium.new_context(base_url=url, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{PREFIX}/sign-in")
    give_the_key(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    yield page
    context.close()


def give_the_key(page: Page, key: str = KEY) -> None:
    page.get_by_label("Key for this service").fill(key)
    page.get_by_role("button", name="Sign in").click()


def end_the_session(page: Page) -> None:
    page.context.clear_cookies()


def test_a_search_is_submitted_as_it_was_typed(page: Page, url: str) -> None:
    page.goto(f"{PREFIX}/new")
    expect(page.locator("#as-json")).not_to_be_empty()
    page.get_by_label("Name (for you)").fill("typed before")
    page.get_by_role("spinbutton", name="Evaluations").fill("7")
    end_the_session(page)
    start = page.get_by_role("button", name="Start", exact=True)

    start.click()
    dialog = page.get_by_role("dialog", name="Your session has ended")
    expect(dialog).to_be_visible(timeout=PATIENCE_MS)
    dialog.get_by_role("button", name="Not now").click()
    expect(page.locator("#refusal")).to_contain_text("Your session has ended")
    expect(start).to_be_enabled()
    start.click()
    give_the_key(page, "wrong")
    expect(dialog.get_by_role("alert")).to_have_text("This is no key of this service.")
    give_the_key(page)

    expect(page.get_by_role("heading", level=1)).to_have_text("typed before", timeout=PATIENCE_MS)
    headers = {"Authorization": f"Bearer {KEY}"}
    path = page.url.removeprefix(url)
    job = httpx.get(f"{url}/v1{path}", headers=headers, trust_env=False).json()
    assert job["study"]["effort"]["evaluations"] == 7
    check_a_button_and_a_download(page)


def check_a_button_and_a_download(page: Page) -> None:
    end_the_session(page)
    page.get_by_role("button", name="Pause").click()
    give_the_key(page)
    expect(page.locator("#job .state").first).to_have_class("state paused", timeout=PATIENCE_MS)

    page.get_by_text("What happened, the newest first").click()
    end_the_session(page)
    page.get_by_role("link", name="Report as one file").click()
    give_the_key(page)
    page.wait_for_url("**/report.html")


def test_a_page_that_lives_offers_to_sign_in_and_goes_on(page: Page, url: str) -> None:
    page.goto(f"{PREFIX}/system?x=1")
    end_the_session(page)

    link = page.locator("#trouble").get_by_role("link", name="Sign in")
    expect(link).to_be_visible(timeout=PATIENCE_MS)
    expect(link).to_have_attribute("href", f"{url}/sign-in?next=%2Fsystem%3Fx%3D1")
    link.click()
    give_the_key(page)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#trouble")).to_be_hidden()
    with page.expect_response(lambda told: told.url.endswith("/system?x=1")) as answer:
        pass
    assert answer.value.status == 200
    assert page.url.endswith("/system?x=1")


def test_a_key_is_made_as_it_was_typed(page: Page) -> None:
    page.goto(f"{PREFIX}/keys")
    page.get_by_label("Account").fill("the-team")
    page.get_by_label("Name", exact=True).fill("for <b>them</b>")
    end_the_session(page)
    page.get_by_role("button", name="Make a key").click()
    give_the_key(page)

    expect(page.locator("pre")).to_contain_text("amc_")
    expect(page.locator("tbody tr")).to_contain_text("for <b>them</b>")
