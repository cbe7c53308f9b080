"""Pictures of every page: `python -m tests.api.browser.screenshots [--docs]`.

Starts a service of its own, has it search on scikit-learn's digits, and takes each page light and
dark, wide and narrow, into `build/screenshots`; with `--docs` also the four of the documentation.
"""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from automl_api.client import Client
from tests.api.browser.conftest import CHROMIUM, KEY, serving
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS, job_body

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "build" / "screenshots"
PICTURES = ROOT / "docs" / "pictures"
WIDTHS = {"wide": 1280, "narrow": 390}
HEIGHT = 860
SEARCHES = (
    ("Digits, auto", "auto", 0, 120),
    ("Digits, AMC", "amc", 0, 60),
    ("Digits, NSGA-II", "nsga2", 0, 60),
    ("Digits, random, seed 0", "random", 0, 60),
    ("Digits, random, seed 1", "random", 1, 60),
    ("Digits, random, seed 2", "random", 2, 60),
)

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Picture:
    """What the documentation shows of a page: from one part of it to the end of another."""

    page: str
    theme: Theme
    first: str
    last: str


DOCUMENTED = {
    "job": Picture("job", "light", "h1", "section:has(#front)"),
    "policies": Picture("job", "dark", "section:has(#bars)", "section:has(#heat)"),
    "network": Picture("model", "light", "h1", "section:has(#groups)"),
    "compare": Picture("compare", "dark", "h1", "section:has(#points)"),
}
DOCUMENTED_WIDTH = 1000
MARGIN = 14


def main() -> None:
    """Search, then take the pictures."""
    if CHROMIUM is None:
        sys.exit("there is no `chromium` (Debian: apt-get install chromium)")
    TARGET.mkdir(parents=True, exist_ok=True)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        paths = _searched(url)
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*arguments, "--disable-dev-shm-usage"]
        )
        for theme in ("light", "dark"):
            for size, width in WIDTHS.items():
                with _signed_in(browser, url, theme, width) as page:
                    for name, path in paths.items():
                        _open(page, path)
                        target = TARGET / f"{name}-{theme}-{size}.png"
                        page.screenshot(path=target, full_page=True)
                        print(target)
        if "--docs" in sys.argv:
            _take_documented(browser, url, paths)
        browser.close()


def _searched(url: str) -> dict[str, str]:
    """Have the service search; return the pages' paths by their names."""
    with Client(url, KEY) as client:
        model = client.create_model(
            "resnet-20", name="resnet-20-digits", config=DIGITS_CONFIG, weights=DIGITS_WEIGHTS
        )
        dataset = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
        submitted: list[dict[str, Any]] = []
        for name, searcher, seed, evaluations in SEARCHES:
            effort = {"evaluations": evaluations}
            body = job_body(model, dataset, searcher=searcher, seed=seed, effort=effort)
            submitted.append(client.submit(body | {"name": name}).content)
        done = [client.job(each["id"]).wait().content for each in submitted]
    first, second = (each["result"]["policy_id"] for each in done[:2])
    return {
        "jobs": "/",
        "new": "/new",
        "job": f"/jobs/{done[0]['id']}",
        "policy": f"/policies/{first}",
        "diff": f"/policies/{first}/diff?other={second}",
        "compare": "/compare?" + "&".join(f"job={each['id']}" for each in done),
        "models": "/models",
        "model": f"/models/{model['id']}",
        "datasets": "/datasets",
        "dataset": f"/datasets/{dataset['id']}/images",
        "system": "/system",
        "problem": "/jobs/job_0",
        "report": f"/v1/jobs/{done[0]['id']}/report.html",
    }


@contextmanager
def _signed_in(browser: Browser, url: str, theme: Theme, width: int) -> Iterator[Page]:
    context = browser.new_context(
        base_url=url,
        color_scheme=theme,
        viewport={"width": width, "height": HEIGHT},
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto("/sign-in")
    page.screenshot(path=TARGET / f"sign-in-{theme}-{width}.png")
    page.get_by_label("Key for this service").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    yield page
    context.close()


def _open(page: Page, path: str) -> None:
    page.goto(path)
    for chart in page.locator(".plot").all():
        chart.locator("svg").wait_for()
    # What was never scrolled to is not laid out, and would be a blank part of the picture.
    page.evaluate(
        "document.querySelectorAll('section').forEach(s => s.style.contentVisibility = 'visible')"
    )
    page.wait_for_timeout(300)  # the stream's last events


def _take_documented(browser: Browser, url: str, paths: dict[str, str]) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, picture in DOCUMENTED.items():
        with _signed_in(browser, url, picture.theme, DOCUMENTED_WIDTH) as page:
            _open(page, paths[picture.page])
            top = _box(page, picture.first)["y"] - MARGIN
            last = _box(page, picture.last)
            whole = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        bottom = last["y"] + last["height"] + MARGIN
        target = PICTURES / f"{name}.png"
        part = whole.crop((0, int(top), DOCUMENTED_WIDTH, int(bottom))).convert("RGB")
        # A palette takes half the bytes; one by coverage keeps the colours that few pixels have.
        part.quantize(256, Image.Quantize.MAXCOVERAGE).save(target, optimize=True)
        print(target, f"{target.stat().st_size / 1000:.0f} kB")


def _box(page: Page, selector: str) -> FloatRect:
    box = page.locator(selector).first.bounding_box()
    assert box is not None, f"{selector} is not on the page"
    return box


if __name__ == "__main__":
    main()
