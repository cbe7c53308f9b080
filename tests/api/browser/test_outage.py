"""A service that goes away while somebody looks at a job, and comes back."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from automl_api.client import Client
from tests.api.browser.conftest import KEY, serving
from tests.api.browser.test_journey import PATIENCE_MS, sign_in
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS, job_body

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.slow]


def submit(url: str) -> str:
    with Client(url, KEY) as client:
        model = client.create_model("resnet-20", config=DIGITS_CONFIG, weights=DIGITS_WEIGHTS)
        dataset = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
        body = job_body(model, dataset, effort={"evaluations": 100_000})
        return client.submit(body).content["id"]


def test_a_page_says_that_the_service_is_gone_and_goes_on_when_it_is_back(
    chromium: Browser, tmp_path: Path
) -> None:
    with serving(tmp_path) as url:
        job_id = submit(url)
        page = chromium.new_context(base_url=url, reduced_motion="reduce").new_page()
        sign_in(page)
        page.goto(f"/jobs/{job_id}")
        expect(page.locator("#front svg")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#trouble")).to_be_hidden()
        expect(page.locator(".state.running > span")).to_have_css("animation-name", "none")

    expect(page.locator("#trouble")).to_contain_text("does not answer", timeout=PATIENCE_MS)
    shown = page.locator("#trials tbody th").first.text_content() or ""

    with serving(tmp_path, port=urlsplit(url).port or 0):
        expect(page.locator("#trouble")).to_be_hidden(timeout=PATIENCE_MS)
        latest = page.locator("#trials tbody th").first
        expect(latest).not_to_have_text(shown, timeout=PATIENCE_MS)
        assert int(latest.text_content() or "") > int(shown)
        page.context.close()
