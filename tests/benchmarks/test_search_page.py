"""The page about `bench-search` can be written at any time, however few cells are finished."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from automl_agents.names import SEARCHER_NAMES
from benchmarks import cells, pictures, search_page, search_plots, search_report
from benchmarks.cells import Cells

CASE = search_plots.CASE


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    monkeypatch.setattr(pictures, "FOLDER", tmp_path / "pictures")
    return Cells("search")


def run_of(name: str, *accuracies: float, seconds: float = 2.0) -> dict[str, Any]:
    """A run whose evaluations take a second each, and the searcher as long."""
    return {
        "searcher": name,
        "fresh_accuracy": max(accuracies) - 0.01,
        "search_accuracy": max(accuracies),
        "search_kl": 1.0 - max(accuracies),
        "macs_ratio": 0.5,
        "searcher_cpu_seconds": float(len(accuracies)),
        "cpu_seconds": seconds * len(accuracies),
        "wall_seconds": 1.0,
        "training_cpu_seconds": 0.0,
        "trials": [[each - 1.0, 1.0, 1.0, 0.1, each, None] for each in accuracies],
    }


def store(finished: Cells, key: str, content: dict[str, Any]) -> None:
    (finished.folder / f"{key}.json").write_text(json.dumps(content))


def picture(name: str) -> str:
    return (pictures.FOLDER / f"{name}.svg").read_text()


def test_without_cells_there_is_no_section_and_every_picture_says_so(finished: Cells) -> None:
    section = search_page.searchers(finished)

    assert section is None
    searching = [name for name in SEARCHER_NAMES if name != "micronet"]  # which has no curve
    assert all("no finished run yet" in picture(f"search-{name}") for name in searching)


def test_one_cell_is_enough_for_table_and_pictures(finished: Cells) -> None:
    store(finished, f"{CASE}-dp-0", run_of("dp", 0.5, 0.7, 0.6))

    section = search_page.searchers(finished)

    assert section is not None
    assert "| dp | 1 | 69.0 |" in section
    assert f"(benchmarks/case-{CASE}.svg)" in section
    assert "dp (1 seed)" in picture(f"case-{CASE}")
    assert "no finished run yet" not in picture("search-dp")
    assert "no finished run yet" in picture("search-auto")


def test_a_refusal_is_told_with_its_reason(finished: Cells) -> None:
    store(finished, f"{CASE}-dp-0", run_of("dp", 0.5))
    store(finished, f"{CASE}-gp-0", {"searcher": "gp", "refused": "90 groups are free"})

    section = search_page.searchers(finished)

    assert section is not None
    assert "- `gp` refused: 90 groups are free" in section
    assert "refused: 90 groups are free" in picture("search-gp")


def test_it_is_told_when_auto_has_what_another_searcher_found(finished: Cells) -> None:
    for seed, accuracies in enumerate([(0.5, 0.8), (0.6, 0.65, 0.7)]):
        store(finished, f"{CASE}-auto-{seed}", run_of("auto", *accuracies))
    store(finished, f"{CASE}-random-0", run_of("random", 0.4, 0.7))
    store(finished, f"{CASE}-tpe-0", run_of("tpe", 0.75))

    summary = search_report.summarise(finished)

    assert summary[f"{CASE}.random.auto_is_there_after"] == 2.5
    assert summary[f"{CASE}.tpe.auto_is_there_after"] is None


def test_the_same_cells_give_the_same_pictures(finished: Cells) -> None:
    store(finished, f"{CASE}-random-0", run_of("random", 0.5, 0.7))
    store(finished, f"{CASE}-auto-0", run_of("auto", 0.5, 0.8))

    search_page.searchers(finished)
    first = picture(f"case-{CASE}"), picture("search-auto")
    search_page.searchers(finished)

    assert (picture(f"case-{CASE}"), picture("search-auto")) == first


def test_a_curve_is_the_mean_of_what_each_seed_has_reached() -> None:
    runs = [run_of("dp", 0.5, 0.7, 0.6), run_of("dp", 0.6, 0.4, 0.8)]

    curve = search_plots.curve(runs, "evaluations")

    assert (curve.effort[0], curve.effort[-1]) == (1.0, 3.0)
    assert (curve.mean[0], curve.mean[-1]) == pytest.approx((55.0, 75.0))  # 0.5, 0.6; 0.7, 0.8
    assert (curve.lowest[-1], curve.highest[-1]) == pytest.approx((70.0, 80.0))
    assert curve.mean[np.searchsorted(curve.effort, 2.5)] == pytest.approx(65.0)  # 0.7, 0.6


def test_a_curve_ends_where_the_shortest_run_does() -> None:
    runs = [run_of("dp", 0.5, 0.5, 0.5), run_of("dp", 0.5, 0.9)]

    curve = search_plots.curve(runs, "evaluations")

    assert curve.effort[-1] == 2.0
    assert curve.mean[-1] == pytest.approx(70.0)


def test_time_holds_what_searcher_and_training_took() -> None:
    run = run_of("metapruning", 0.5, 0.7) | {"training_cpu_seconds": 100.0}

    curve = search_plots.curve([run], "CPU seconds")

    assert (curve.effort[0], curve.effort[-1]) == (102.0, 104.0)


def test_a_policy_that_was_measured_before_took_no_time() -> None:
    run = run_of("uniform", 0.5)
    run["trials"][0][2] = 0.0

    curve = search_plots.curve([run], "CPU seconds")

    assert np.isfinite(curve.mean).all()


def test_ablation_needs_no_cell(finished: Cells) -> None:
    assert search_page.ablation(finished) is None


def test_ablation_shows_the_encoders_that_are_finished(finished: Cells) -> None:
    cell = {
        "encoder": "trained",
        "fresh_accuracy": 0.7,
        "best_score": 0.72,
        "late_mean_score": 0.6,
        "searcher_cpu_seconds": 1.0,
        "evaluation_cpu_seconds": 2.0,
    }
    store(finished, "trained-0", cell)

    section = search_page.ablation(finished)

    assert section is not None
    assert "| trained | 1 | 70.0 |  | 72.0 | 60.0 | 50 % |" in section
    assert "| none |" not in section
