"""Passes over made-up layers on a made-up busy machine, whose true times are known."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from automl_compress.costs.layer_times import LayerShape, LayerTimes
from automl_compress.evaluate.layer_passes import Entry, Grid, measure_until_agreed

SHAPE = LayerShape("convolution", (3, 3), (1, 1), (8, 8), 1)
GRID = Grid(SHAPE, (8, 16, 24, 32), (8, 16, 24, 32, 40, 48))
COPIES, CALL_NS = 9, 60_000
Layer = Callable[[int, int], float]


@dataclass
class BusyMachine:
    """Most of the time it takes longer than it must, in phases of many calls."""

    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    slowed: float = 1.0
    calls: int = 0

    def took(self, nanoseconds: float) -> int:
        if self.calls % 40 == 0:
            self.slowed = self.generator.choice([1.0, 1.2, 1.45])
        self.calls += 1
        return round(nanoseconds * self.slowed + self.generator.exponential(100.0))


@dataclass
class MadeUp:
    """A network of so many copies of a layer."""

    machine: BusyMachine
    nanoseconds: float
    calls: int = 0

    def least_call_ns(self) -> int:
        self.calls += 1
        return min(self.machine.took(self.nanoseconds) for _ in range(3))


def measured(layer: Layer) -> tuple[LayerTimes, np.ndarray, list[Entry]]:
    """Return measured times, true ones, and entries."""
    machine = BusyMachine()
    truth = np.array([[layer(one, two) for two in GRID.outputs] for one in GRID.inputs])
    entries = [
        Entry(MadeUp(machine, CALL_NS + ns), MadeUp(machine, CALL_NS + COPIES * ns), COPIES)
        for ns in truth.ravel().tolist()
    ]
    reference = Entry(MadeUp(machine, 1e5), MadeUp(machine, 2e5), COPIES)
    generator = np.random.default_rng(0)
    (times,) = measure_until_agreed([GRID], [entries], reference, generator)
    return times, truth, entries


def in_blocks_of_16(inputs: int, outputs: int) -> float:
    return 500.0 * inputs * -(-outputs // 16)


def test_plateaus_and_steps_of_an_engine_are_found_on_a_busy_machine() -> None:
    times, truth, _ = measured(in_blocks_of_16)

    smoothed = times.smoothed()

    assert smoothed.nanoseconds == pytest.approx(truth, rel=0.02)
    steps = smoothed.nanoseconds[:, 2::2] / smoothed.nanoseconds[:, 1::2][:, :-1]
    assert (steps > 1.3).all()
    assert not smoothed.breaking_monotony().any()


def test_a_layer_that_the_engine_runs_slower_than_a_wider_one_is_confirmed_and_stays() -> None:
    def slow_at_24(inputs: int, outputs: int) -> float:
        return in_blocks_of_16(inputs, outputs) * (1.5 if outputs == 24 else 1.0)

    times, truth, entries = measured(slow_at_24)

    assert times.smoothed().nanoseconds == pytest.approx(truth, rel=0.03)
    passes = np.array([entry.passes for entry in entries]).reshape(truth.shape)
    assert passes[:, 2].min() > passes[:, 0].min()  # told apart only after more passes


def test_passes_that_disagree_are_made_again() -> None:
    _, _, entries = measured(in_blocks_of_16)

    passes = [entry.passes for entry in entries]
    assert min(passes) < max(passes)
    assert not any(entry.disagrees for entry in entries)


def test_the_same_measurements_give_the_same_times() -> None:
    first, second = (measured(in_blocks_of_16)[0] for _ in range(2))

    assert first.nanoseconds.tolist() == second.nanoseconds.tolist()
    assert first.known_spreads.tolist() == second.known_spreads.tolist()
