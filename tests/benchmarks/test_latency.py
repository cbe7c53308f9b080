"""Budgets are corrected towards half of the time, and the report counts what is finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells, latency_report, records
from benchmarks.cells import Cells
from benchmarks.latency import next_ratio, returned


def search(seconds: float, score: float) -> dict[str, Any]:
    """A search whose winner takes so long, the uncut network taking 1."""
    return {
        "score": score,
        "macs_ratio": 0.25,
        "predicted_ratio": 0.5,
        "measured": figure("cpu-openvino", 1, 1 / seconds),
    }


def figure(target: str, batch: int, speedup: float) -> dict[str, Any]:
    return {"target": target, "plan": {"batch": batch}, "speedup": speedup}


def test_a_budget_is_corrected_by_what_its_winner_took() -> None:
    assert next_ratio("latency", 0.5, 0.625) == pytest.approx(0.4)
    assert next_ratio("macs", 0.2, 0.625) == pytest.approx(0.128)
    assert next_ratio("macs-8", 0.2, 0.5) == pytest.approx(0.2)


def test_the_best_of_those_fast_enough_is_returned_and_the_fastest_where_none_is() -> None:
    slow, enough, fast = search(0.52, -0.1), search(0.505, -0.2), search(0.4, -0.9)

    assert returned([slow, fast, enough]) is enough
    assert returned([slow, search(0.6, 0.0)]) is slow


def test_the_report_counts_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    finished = Cells(latency_report.NAME)
    assert latency_report.section(finished) is None
    accuracies = {"latency": (0.52, 0.50), "macs": (0.40, 0.44), "macs-8": (0.50,)}
    for way, found in accuracies.items():
        for seed, accuracy in enumerate(found):
            elsewhere = [
                figure("cpu-openvino", 32, 2.0),
                figure("cpu-onnxruntime", 1, 1.5),
                figure("cpu-onnxruntime", 32, 1.75),
            ]
            content = {
                "searches": [search(0.6, 0.0), search(0.5, -0.1)],
                "returned": 1,
                "fresh_accuracy": accuracy,
                "elsewhere": elsewhere,
            }
            path = finished.folder / f"{latency_report.key_of('resnet-20', way, seed)}.json"
            path.write_text(json.dumps(content))

    summary = latency_report.write(finished)

    assert summary["resnet-20.latency.seeds"] == 2
    assert summary["resnet-20.latency.fresh"] == 0.51
    assert summary["resnet-20.latency.openvino_batch_32.speedup"] == 2.0
    assert summary["resnet-20.ahead_of_macs"] == "+9.0 points ± 2.2"
    assert summary["resnet-20.ahead_of_macs-8"] == "+1.0 points, one seed"
    section = latency_report.section(finished)
    assert section is not None
    row = (
        "| resnet-20 | latency | 2 | 2.0 | 25.0 % | 2.00 | 2.00 | 2.00 | 1.50 | 1.75 | 51.0 | 1.4 |"
    )
    assert row in section
