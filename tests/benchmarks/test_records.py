"""What stays of a benchmark's figures: how and where they were made."""

import json
from pathlib import Path

import pytest

from benchmarks import cells, records


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    return tmp_path


def test_figures_that_are_summarised_again_stay_those_of_their_machine(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = records.save("some", {"share": 0.1 + 0.2}, {"pair": (1, 2)}, [0])
    before = path.read_text()
    monkeypatch.setattr(records, "host", lambda: {"cpu": "another"})

    records.save("some", {"share": 0.1 + 0.2}, {"pair": (1, 2)}, [0])
    assert path.read_text() == before

    records.save("some", {"share": 0.4}, {"pair": (1, 2)}, [0])
    assert json.loads(path.read_text())["host"] == {"cpu": "another"}


def test_a_cell_tells_code_and_machine(results: Path) -> None:
    made = cells.Cells("some")

    made.compute("first", lambda: {"accuracy": 0.5})

    told = made.read("first")
    assert told == {"accuracy": 0.5, "commit": records.COMMIT, "host": records.host()}
