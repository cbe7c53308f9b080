"""The table of the winners' stages can be written at any time, however few cells are finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells, micronet_report
from benchmarks.cells import Cells


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    return Cells(micronet_report.NAME)


def store(finished: Cells, key: str, micronet: int, test_accuracy: float) -> None:
    stages = [{"stage": "prune", "search_accuracy": 0.3}, {"stage": "fold", "search_accuracy": 0.8}]
    cell = {"micronet": micronet, "test_accuracy": test_accuracy, "stages": stages}
    (finished.folder / f"{key}.json").write_text(json.dumps(cell))


def test_without_a_tuned_network_there_is_no_section(finished: Cells) -> None:
    (finished.folder / "search-0.json").write_text(json.dumps({"seed": 0, "policy": {}}))

    assert micronet_report.section(finished) is None
    assert micronet_report.summarise(finished) == {}


def test_one_network_is_a_row_with_its_stages(finished: Cells) -> None:
    store(finished, "tuned-by-hand", 1_200_000, 0.85)

    section = micronet_report.section(finished)

    assert section is not None
    assert "| by hand | 0.00120 | 30.00% |  |  |  | 80.00% | 85.00% |" in section
    assert micronet_report.summarise(finished) == {
        "by-hand.micronet": 0.0012,
        "by-hand.tuned_test": 0.85,
    }


def test_losses_are_taken_from_the_uncut_network_and_shares_from_the_one_by_hand(
    finished: Cells,
) -> None:
    store(finished, "tuned-uncut", 15_000_000, 0.88)
    store(finished, "tuned-by-hand", 1_000_000, 0.85)
    store(finished, "tuned-searched-0", 950_000, 0.87)
    store(finished, "tuned-searched-2", 930_000, 0.865)

    told: dict[str, Any] = micronet_report.summarise(finished)

    assert (told["by-hand.lost_points"], told["by-hand.is_above_floor"]) == (3.0, False)
    assert (told["searched-0.lost_points"], told["searched-0.is_above_floor"]) == (1.0, True)
    assert told["searched.share_of_by_hand"] == 0.94
    assert told["searched.points_over_by_hand"] == 1.75
    assert "uncut.lost_points" not in told
