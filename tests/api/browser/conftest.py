import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
KEY = "the key of the browser tests"


@dataclass
class Opened:
    """A page, and what must stay empty while it is used."""

    page: Page
    url: str
    console: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A violation of the content policy is an error on the console, too.
        self.page.on("console", lambda told: self._console(told.type, told.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self._request(request.url))

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.console.append(text)

    def _request(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.elsewhere.append(url)

    def check(self) -> None:
        assert self.console == []
        assert self.elsewhere == []


@pytest.fixture(scope="session")
def chromium() -> Generator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no `chromium` (Debian: apt-get install chromium)")
    # Its sandbox cannot be had by root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*arguments, "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


class Service:
    """A service of a module's tests, which one of them may stop and start again."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir, self._running = data_dir, ExitStack()
        self.url = self._running.enter_context(serving(data_dir))

    def stop(self) -> None:
        self._running.close()

    def start_again(self) -> None:
        port = urlsplit(self.url).port or 0
        self._running.enter_context(serving(self._data_dir, port=port))


@pytest.fixture(scope="module")
def service(data_dir: Path) -> Iterator[Service]:
    service = Service(data_dir)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def service_url(service: Service) -> str:
    return service.url


@contextmanager
def serving(data_dir: Path, *options: str, port: int = 0, prefix: str = "") -> Iterator[str]:
    """The service as its users start it, with a key and, unless told otherwise, its worker.

    prefix: of a proxy that passes it on; the address has it, too.
    """
    told = {
        "AUTOML_COMPRESS_DATA_DIR": str(data_dir),
        "AUTOML_COMPRESS_KEY": KEY,
        "OMP_NUM_THREADS": "1",
        **({"AUTOML_COMPRESS_ROOT_PATH": prefix} if prefix else {}),
    }
    command = [sys.executable, "-m", "automl_api.cli", "serve", "--port", str(port), "--json"]
    command += options
    with subprocess.Popen(command, env=os.environ | told, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"] + prefix
            wait_until_it_answers(url)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def violations(page: Page) -> list[str]:
    """What axe finds, as a line for each rule that is broken; folded parts are opened first."""
    for folded in page.locator("details").all():
        folded.evaluate("element => element.open = true")
    broken = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['html'] for node in each['nodes'][:3]]}" for each in broken]


def wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/v1/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the service does not answer")


@pytest.fixture
def opened(chromium: Browser, service_url: str, tmp_path: Path) -> Iterator[Opened]:
    """A page of a browser that nobody signed in with."""
    context = chromium.new_context(base_url=service_url, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    yield Opened(context.new_page(), service_url)
    context.close()
