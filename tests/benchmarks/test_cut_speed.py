"""The table of speed-ups can be written at any time, however few cells are finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells, cut_speed
from benchmarks.cells import Cells


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    return Cells(cut_speed.NAME)


def store(finished: Cells, key: str, content: dict[str, Any]) -> None:
    (finished.folder / f"{key}.json").write_text(json.dumps(content))


def figure(target: str, batch: int, speedup: float) -> dict[str, Any]:
    return {"target": target, "plan": {"batch": batch}, "speedup": speedup, "spread": 0.1}


def test_without_a_cell_nothing_is_said(finished: Cells) -> None:
    assert cut_speed.section(finished) is None
    assert cut_speed.summarise(finished) == {}


def test_a_cell_is_a_row_and_an_unreachable_budget_says_so(finished: Cells) -> None:
    figures = [
        figure(target, batch, speedup)
        for (target, batch), speedup in zip(
            [(target, batch) for target in cut_speed.TARGETS for batch in cut_speed.BATCHES],
            (0.8, 0.9, 1.5, 1.25),
            strict=True,
        )
    ]
    store(finished, "resnet-20-50-r1", {"macs_kept": 0.5, "measured": figures})
    store(finished, "resnet-20-25-r16", {"refused": "no"})

    section = cut_speed.section(finished)

    assert section is not None
    times = "0.80 ± 0.08 | 0.90 ± 0.09 | 1.50 ± 0.15 | 1.25 ± 0.12"
    assert f"| resnet-20-50-r1 | 2.00 | {times} |" in section
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {7}
    assert "| resnet-20-25-r16 | unreachable |" in section
    summary = cut_speed.summarise(finished)
    assert summary["resnet-20-50-r1.fewer_macs"] == 2.0
    assert summary["resnet-20-50-r1.openvino.batch_1.speedup"] == 1.5
    assert len(summary) == 5


def test_every_cell_has_a_key_of_its_own() -> None:
    keys = [key for key, _ in cut_speed.plan(cut_speed.NETWORKS)]

    assert len(set(keys)) == len(keys) == 24
    assert "densenet-bc-100-25-r8" in keys
