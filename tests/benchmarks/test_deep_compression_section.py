"""The tables of prune, share, code can be written at any time, however few cells are finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells, deep_compression_report
from benchmarks.cells import Cells

LAYER = {
    "weights": 235_200,
    "zeros": 0.9,
    "entropy_bytes": 1000.0,
    "payload_bytes": 1002,
    "table_bytes": 18,
    "faithful_bytes": 1200,
}
STAGES: dict[str, dict[str, Any]] = {
    "trained": {"search_accuracy": 0.9},
    "pruned": {"search_accuracy": 0.899, "bytes": 12_000},
    "shared": {"search_accuracy": 0.898, "bytes": 5000.5},
    "coded": {
        "uncut_bytes": 40_000,
        "bytes": 1020,
        "faithful_bytes": 1200,
        "layers": {"fc1": LAYER, "fc3": {**LAYER, "weights": 1000, "payload_bytes": 1999}},
    },
    "tested": {"uncut_accuracy": 0.905, "compressed_accuracy": 0.902},
}


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    return Cells(deep_compression_report.NAME)


def store(finished: Cells, *stages: str) -> None:
    for stage in stages:
        path = finished.folder / f"lenet-300-100-0-{stage}.json"
        path.write_text(json.dumps(STAGES[stage]))


def test_a_network_is_told_once_all_its_stages_are_finished(finished: Cells) -> None:
    assert deep_compression_report.section(finished) is None

    store(finished, "trained", "pruned", "shared", "coded")

    assert deep_compression_report.section(finished) is None


def test_stages_and_figures(finished: Cells) -> None:
    store(finished, *STAGES)

    section = deep_compression_report.section(finished)

    assert section is not None
    assert "| lenet-300-100 | pruned | 89.90% | 12,000 | 3.3x |" in section
    assert "| lenet-300-100 | coded, by entropy | 89.80% | 1,020 | 39.2x |" in section
    summary = deep_compression_report.summarise(finished)
    assert summary["lenet-300-100.dropped"] == 0.3
    # The small layer counts for none of these.
    assert summary["lenet-300-100.payload"] == 1.002
    assert summary["lenet-300-100.whole"] == 1.02
    assert summary["lenet-300-100.saved.least"] == 0.15
