"""The job page while trials stream in, and how soon it is there when thousands are stored.

A real service and Debian's Chromium. While the page of a job with 5,000 trials is open, more are
stored as a search stores them, 20 a second, for ten minutes (`--minutes 2 --stored 500` for a
try); then the page, with 10,000 at least, is opened by browsers that have nothing cached. Tasks
and redraws of a busy machine take longer than those of an idle one: the load is written down
beside them, and the processor time of the main thread, which depends on it less.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import records
from benchmarks.dashboard_scene import Stage, Trials, stage, streaming
from tests.api.browser.conftest import CHROMIUM, KEY

NAME = "dashboard"
PER_SECOND = 20
STORED = 10_000
OPENINGS = 5
SAMPLE_SECONDS = 20
TRACED_SECONDS = 20
MIB = 2**20
WATCHER = (Path(__file__).parent / "dashboard_watcher.js").read_text()


def streamed(browser: Browser, told: Stage, trials: Trials, minutes: float) -> dict[str, Any]:
    """Watch the page of a job while its trials come in."""
    before = trials.count
    with opened(browser, told.url, f"/jobs/{trials.job_id}") as page:
        session = page.context.new_cdp_session(page)
        session.send("HeapProfiler.enable")
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        samples: list[dict[str, Any]] = []
        traced: dict[str, float] = {}
        with streaming(trials, PER_SECOND):
            page.locator("#front svg").wait_for()
            page.evaluate("() => watched.forget()")
            start = time.monotonic()
            while (elapsed := time.monotonic() - start) < 60 * minutes:
                page.wait_for_timeout(1000 * min(SAMPLE_SECONDS, 60 * minutes - elapsed))
                samples.append(sample(session.send, time.monotonic() - start, trials.count))
                print(f"  {samples[-1]}", flush=True)
            watched = page.evaluate("() => ({ tasks: watched.tasks, redraws: watched.redraws })")
            traced = traced_tasks(browser, page)
        shown = int(page.locator("#trials tbody th").first.text_content() or "0")
    return {
        "trials": [before, trials.count],
        "shown": shown,
        "tasks": sorted((each["ms"] for each in watched["tasks"]), reverse=True)[:20],
        "redraws": watched["redraws"],
        "samples": samples,
        "traced": traced,
    }


def sample(send: Callable[..., Any], seconds: float, trials: int) -> dict[str, Any]:
    """Collect the garbage and read what is left, and what the main thread has worked so far."""
    send("HeapProfiler.collectGarbage")
    told = {each["name"]: each["value"] for each in send("Performance.getMetrics")["metrics"]}
    return {
        "seconds": round(seconds),
        "trials": trials,
        "heap_bytes": told["JSHeapUsedSize"],
        "nodes": told["Nodes"],
        "main_thread_cpu_s": round(told["TaskDuration"], 3),
        "load": os.getloadavg()[0],
    }


def traced_tasks(browser: Browser, page: Page) -> dict[str, float]:
    """Return the longest task of the page's main thread within some seconds: wall and processor."""
    with traced(browser, page) as tasks:
        page.wait_for_timeout(1000 * TRACED_SECONDS)
    return {
        "longest_ms": max(each["dur"] for each in tasks) / 1000,
        "longest_cpu_ms": max(each["tdur"] for each in tasks) / 1000,
        "cpu_share": sum(each["tdur"] for each in tasks) / 1e6 / TRACED_SECONDS,
    }


@contextmanager
def traced(browser: Browser, page: Page) -> Generator[list[dict[str, Any]]]:
    """Note the tasks of the page's main thread and its marks while the block lasts, in order."""
    found: list[dict[str, Any]] = []
    browser.start_tracing(page=page, categories=["toplevel", "loading"])
    yield found
    events = json.loads(browser.stop_tracing())["traceEvents"]
    mains = {
        (each["pid"], each["tid"])
        for each in events
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    ours = [each for each in events if (each["pid"], each["tid"]) in mains]
    wanted = ("ThreadControllerImpl::RunTask", "firstContentfulPaint")
    found += sorted(
        ({"dur": 0, "tdur": 0, **each} for each in ours if each["name"] in wanted),
        key=lambda each: each["ts"],
    )


def opening(browser: Browser, told: Stage, job_id: str) -> dict[str, Any]:
    """Open a job's page with nothing cached, and say what was there when."""
    sizes: list[float] = []
    with opened(browser, told.url, "/static/style.css") as page:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.on("Network.loadingFinished", lambda each: sizes.append(each["encodedDataLength"]))
        before = told.server_seconds()
        with traced(browser, page) as tasks:
            page.goto(f"/jobs/{job_id}")
            page.locator("#front svg").wait_for()
            page.wait_for_timeout(1000)
            found = page.evaluate("() => watched.opening()")
        served = told.server_seconds() - before
    painted = [each["ts"] for each in tasks if each["name"] == "firstContentfulPaint"]
    until = sum(each["tdur"] for each in tasks if painted and each["ts"] < painted[-1])
    return {
        **found,
        "page_cpu_ms": until / 1000,
        "server_cpu_ms": 1000 * served,
        "transferred_bytes": sum(sizes),
        "load": os.getloadavg()[0],
    }


@contextmanager
def opened(browser: Browser, url: str, path: str) -> Generator[Page]:
    """Sign in, then open a page that nothing may go wrong on."""
    # What is evaluated in the page comes as a text, which its content policy rightly refuses.
    context = browser.new_context(base_url=url, bypass_csp=True)
    context.set_default_timeout(120_000)
    elsewhere: list[str] = []
    context.on(
        "request", lambda each: None if each.url.startswith(url) else elsewhere.append(each.url)
    )
    context.add_init_script(WATCHER)
    context.request.post("/sign-in", form={"key": KEY, "next": "/"}, headers={"Origin": url})
    page = context.new_page()
    page.goto(path)
    yield page
    context.close()
    if wrong := [each for each in elsewhere if not each.startswith((url, "data:", "blob:"))]:
        sys.exit(f"the pages ask elsewhere: {wrong[:3]}")


def summary(
    stream: dict[str, Any], openings: Sequence[dict[str, Any]], trials: int
) -> dict[str, Any]:
    """Return the figures under plain keys."""
    samples, redraws = stream["samples"], stream["redraws"]
    first, last = samples[0], samples[-1]
    seconds, trials_more = last["seconds"] - first["seconds"], last["trials"] - first["trials"]
    heaps = [each["heap_bytes"] for each in samples]
    # A sample may hold an answer that is being read; the least of several does not.
    some = max(1, len(heaps) // 5)
    floors = [min(heaps[:some]), min(heaps[-some:])]
    paints = [each["first_paint_ms"] for each in openings]
    fronts = [each["front_ms"] for each in openings]
    cpu = [each["page_cpu_ms"] for each in openings]
    return {
        "stream.trials": stream["trials"],
        "stream.minutes": round(last["seconds"] / 60, 1),
        "stream.trials_per_second": round(trials_more / seconds, 1),
        "stream.longest_task_ms": round(max([*stream["tasks"], stream["traced"]["longest_ms"]])),
        "stream.tasks_over_100_ms": sum(each > 100 for each in stream["tasks"]),
        "stream.longest_task_cpu_ms": round(stream["traced"]["longest_cpu_ms"]),
        "stream.main_thread_cpu_share": round(
            (last["main_thread_cpu_s"] - first["main_thread_cpu_s"]) / seconds, 3
        ),
        "stream.redraw_ms": round(statistics.median(redraws)),
        "stream.longest_redraw_ms": round(max(redraws)),
        "stream.heap_mib_first_and_last": [round(each / MIB, 1) for each in floors],
        "stream.heap_bytes_per_trial": round((floors[1] - floors[0]) / trials_more),
        "stream.nodes": [each["nodes"] for each in (first, last)],
        "stream.load": round(statistics.median(each["load"] for each in samples), 1),
        "opening.trials": trials,
        "opening.first_paint_ms": round(statistics.median(paints)),
        "opening.shortest_first_paint_ms": round(min(paints)),
        "opening.cpu_ms_until_paint": round(statistics.median(cpu)),
        "opening.front_ms": round(statistics.median(fronts)),
        "opening.shortest_front_ms": round(min(fronts)),
        "opening.transferred_bytes": max(round(each["transferred_bytes"]) for each in openings),
        "opening.load": round(statistics.median(each["load"] for each in openings), 1),
    }


def main() -> None:
    """Watch, print and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of streaming; 10 are kept")
    parser.add_argument(
        "--stored",
        type=int,
        default=STORED,
        help="trials, half of them before the stream",
    )
    parser.add_argument("--note", default="", help="what is to be said of the machine")
    told = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("there is no `chromium` (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory(prefix="compress-dashboard-") as folder,
        stage(Path(folder)) as scene,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*arguments, "--disable-dev-shm-usage"]
        )
        trials = Trials(scene, scene.running_job("streaming"))
        trials.store(told.stored // 2)
        print(f"{trials.count} trials are stored", flush=True)
        stream = streamed(browser, scene, trials, told.minutes)
        trials.store(told.stored - trials.count)
        openings = [opening(browser, scene, trials.job_id) for _ in range(OPENINGS)]
        browser.close()
    found = summary(stream, openings, trials.count)
    if told.note:
        found["machine"] = told.note
    for key, value in found.items():
        print(f"{key:36s} {value}")
    if told.minutes >= 10 and told.stored >= STORED:
        records.save(NAME, found, {"stream": stream, "openings": openings}, [0])


if __name__ == "__main__":
    main()
