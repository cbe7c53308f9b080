"""The trials of a job as CSV."""

import csv
import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from automl_api.cli import app
from automl_api.jobs import trial_file
from automl_compress.core import Choice, Policy, Suggestion, Trial, TrialState
from automl_compress.store import SqlTrialStore
from tests.api.conftest import RunningService, job_body, problem
from tests.api.test_jobs import measured, store_trials, submit


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_trial_is_a_row_with_its_figures(
    service: RunningService,
    model: dict[str, Any],
    dataset: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(trial_file, "ROWS_AT_ONCE", 2)
    job_id = submit(service, job_body(model, dataset))["id"]
    store_trials(service, job_id, [0.1, -0.2, 0.3])
    store = SqlTrialStore(service.database, job_id)
    store.asked(Suggestion(3, Policy((Choice("conv1", 0.5),))))

    answer = service.http.get(f"/v1/jobs/{job_id}/trials.csv")

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert f"trials-{job_id}.csv" in answer.headers["Content-Disposition"]
    rows = rows_of(answer.text)
    assert [each["number"] for each in rows] == ["0", "1", "2", "3"]
    assert [each["score"] for each in rows] == ["0.1", "-0.2", "0.3", ""], "numbers stay numbers"
    assert (rows[0]["macs"], rows[0]["accuracy"], rows[0]["state"]) == ("50", "0.1", "complete")
    assert (rows[3]["state"], rows[3]["macs"], rows[3]["finished_at"]) == ("running", "", "")
    assert rows[0]["created_at"].endswith("Z")
    place = ["--url", service.url, "--csv", str(tmp_path / "t.csv")]
    done = CliRunner().invoke(app, ["jobs", "trials", job_id, *place])
    assert done.exit_code == 0, done.exception
    assert rows_of((tmp_path / "t.csv").read_text()) == rows
    assert f"{job_id}/trials.csv" in service.http.get(f"/jobs/{job_id}").text
    problem(service.http.get("/v1/jobs/job_0/trials.csv"), 404, "not-found")


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "  =1",
        "\uff1d1",
        '=HYPERLINK("http://x","y")',
    ],
)
def test_no_text_is_a_formula(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any], text: str
) -> None:
    job_id = submit(service, job_body(model, dataset))["id"]
    store, policy = SqlTrialStore(service.database, job_id), Policy((Choice("conv1", 0.5),))
    for number, failure in enumerate((text, 'plain, with "quotes"\nand lines')):
        store.asked(Suggestion(number, policy, text))
        store.told(Trial(number, policy, TrialState.FAILED, failure=failure, note=text))

    rows = rows_of(service.http.get(f"/v1/jobs/{job_id}/trials.csv").text)

    assert [each["note"] for each in rows] == [f"'{text}"] * 2
    assert rows[0]["failure"] == f"'{text}"
    assert rows[1]["failure"] == 'plain, with "quotes"\nand lines'


def test_memory_does_not_grow_with_the_trials(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job_id = submit(service, job_body(model, dataset))["id"]
    note = "n" * 20_000
    store, policy = SqlTrialStore(service.database, job_id), Policy((Choice("conv1", 0.5),))
    for number in range(200):  # 4 MB in all
        store.asked(Suggestion(number, policy, note))
        store.told(Trial(number, policy, TrialState.COMPLETE, measured(0.5), note=note))
    small = 10
    tracemalloc.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trial_file, "ROWS_AT_ONCE", small)
            with service.http.stream("GET", f"/v1/jobs/{job_id}/trials.csv") as answer:
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                size = sum(len(each) for each in answer.iter_bytes())
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()

    assert size > 200 * len(note)
    assert peak < size / 2, "server and client are one process here"
