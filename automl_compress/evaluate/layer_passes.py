"""Times of layers alone, measured in passes over all of them until they agree.

On a busy machine the processor time of one call varies by a third, in phases that last longer than
an entry of a table would take. So all entries are visited in random order again and again,
and the low end of an entry's times counts: what disturbs only ever adds. Entries whose passes
disagree, and those that are slower than a wider layer, are visited more often, until they agree or
have shown that the engine is like that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from automl_compress.costs.layer_times import LayerShape, LayerTimes
from automl_compress.evaluate.latency import LOW, Taker, load_session, warmed
from automl_compress.export.layer_network import layer_network
from automl_compress.targets import Target

# The difference to one copy is what the others take; where a call is long, few will do.
_COPIES, _FEW_COPIES, _LONG_CALL_NS = 9, 3, 1_000_000
_FIRST_PASSES, _MORE_PASSES, _MOST_PASSES = 16, 8, 64
_CONFIRMING_PASSES = 3 * _FIRST_PASSES  # after which breaking monotony is no accident
_BLOCKS = 4
# Passes agree where the standard error is below either: of the layer's time, of a call's.
_AGREEMENT, _RESOLUTION = 0.015, 0.001
_ENTRIES_AT_ONCE = 200  # each of them is two loaded networks, a megabyte or two
_SEED = 0


@dataclass(frozen=True)
class Grid:
    """Widths at which a shape is measured."""

    shape: LayerShape
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many pairs of widths there are."""
        return len(self.inputs) * len(self.outputs)


def measure_layers(grids: Sequence[Grid], target: Target, batch: int) -> list[LayerTimes]:
    """Measure what the layers of some shapes take, each time with its spread.

    Raises:
        InvalidInput: the engine is not installed.
        ModelInvalid: it cannot run a layer.
    """
    generator = np.random.default_rng(_SEED)
    first, reference_ns = grids[0], 0.0
    found: list[LayerTimes] = []
    for together in _parcels(grids):
        bench = _Bench(target, batch, generator)
        # What is measured later may find another clock rate: one layer is in all parcels.
        reference = bench.entry(first.shape, first.inputs[-1], first.outputs[-1])
        entries = list(map(bench.entries, together))
        measured = measure_until_agreed(together, entries, reference, generator)
        reference_ns = reference_ns or reference.call_ns
        scale = reference_ns / reference.call_ns
        found += [
            replace(each, nanoseconds=scale * each.nanoseconds, spreads=scale * each.known_spreads)
            for each in measured
        ]
    return [each.smoothed() for each in found]


def _parcels(grids: Sequence[Grid]) -> Iterator[list[Grid]]:
    """Yield shapes in groups whose networks fit in memory side by side."""
    together: list[Grid] = []
    for grid in grids:
        if together and sum(each.size for each in together) + grid.size > _ENTRIES_AT_ONCE:
            yield together
            together = []
        together.append(grid)
    yield together


class Timed(Protocol):
    """A network whose calls are timed."""

    def least_call_ns(self) -> int:
        """Return the least processor time of some calls."""
        ...


@dataclass
class Entry:
    """A layer of certain widths: networks of one copy of it and of several, and their times."""

    one: Timed
    several: Timed
    copies: int
    turns: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))

    @property
    def passes(self) -> int:
        """How often it was visited."""
        return len(self.turns[0])

    @property
    def call_ns(self) -> float:
        """What a call with several copies takes."""
        return float(np.quantile(self.turns[1], LOW))

    @property
    def layer_ns(self) -> float:
        """What the layer takes."""
        return self._of_turns(*map(np.asarray, self.turns))

    @property
    def spread_ns(self) -> float:
        """Standard error of the layer's time, from consecutive blocks of passes."""
        blocks = zip(*(np.array_split(each, _BLOCKS) for each in self.turns), strict=True)
        return float(np.std([self._of_turns(*each) for each in blocks], ddof=1) / _BLOCKS**0.5)

    @property
    def disagrees(self) -> bool:
        """Whether its passes do, though there were not yet as many as are made."""
        enough = max(_AGREEMENT * self.layer_ns, _RESOLUTION * self.call_ns)
        return self.passes < _MOST_PASSES and self.spread_ns > enough

    def _of_turns(self, one: np.ndarray, several: np.ndarray) -> float:
        difference = np.quantile(several, LOW) - np.quantile(one, LOW)
        return max(float(difference), 0.0) / (self.copies - 1)


def measure_until_agreed(
    grids: Sequence[Grid],
    entries: Sequence[Sequence[Entry]],
    reference: Entry,
    generator: np.random.Generator,
) -> list[LayerTimes]:
    """Visit entries until each agrees with itself, and with its neighbours or has shown otherwise.

    Args:
        grids: what is measured.
        entries: those of each grid, inputs by outputs.
        reference: visited in every pass.
        generator: of the order of turns.
    """
    chosen, passes = [entry for each in entries for entry in each], _FIRST_PASSES
    while True:
        for _ in range(passes):
            _visit([reference, *chosen], generator)
        passes = _MORE_PASSES
        found = [_times(*each) for each in zip(grids, entries, strict=True)]
        doubts = map(_in_doubt, found, entries)
        chosen = [entry for each in doubts for entry in each]
        if not chosen:
            return found


def _visit(entries: Sequence[Entry], generator: np.random.Generator) -> None:
    turns = [
        turn
        for entry in entries
        for turn in zip((entry.one, entry.several), entry.turns, strict=True)
    ]
    for place in generator.permutation(len(turns)):
        network, times = turns[int(place)]
        times.append(network.least_call_ns())


def _times(grid: Grid, entries: Sequence[Entry]) -> LayerTimes:
    size = len(grid.inputs), len(grid.outputs)
    spreads = np.array([entry.spread_ns for entry in entries])
    # So few blocks may agree by chance: no entry is surer than is usual for its shape.
    spreads = np.maximum(spreads, np.median(spreads)).reshape(size)
    times = np.array([entry.layer_ns for entry in entries]).reshape(size)
    return LayerTimes(grid.shape, grid.inputs, grid.outputs, times, spreads)


def _in_doubt(times: LayerTimes, entries: Sequence[Entry]) -> list[Entry]:
    breaking = times.breaking_monotony().ravel()
    return [
        entry
        for entry, breaks in zip(entries, breaking, strict=True)
        if entry.disagrees or (breaks and entry.passes < _CONFIRMING_PASSES)
    ]


@dataclass(frozen=True)
class _Bench:
    target: Target
    batch: int
    generator: np.random.Generator

    def entries(self, grid: Grid) -> list[Entry]:
        return [
            self.entry(grid.shape, inputs, outputs)
            for inputs in grid.inputs
            for outputs in grid.outputs
        ]

    def entry(self, shape: LayerShape, inputs: int, outputs: int) -> Entry:
        one = self._taker(shape, inputs, outputs, 1)
        copies = _FEW_COPIES if one.least_call_ns() > _LONG_CALL_NS else _COPIES
        return Entry(one, self._taker(shape, inputs, outputs, copies), copies)

    def _taker(self, shape: LayerShape, inputs: int, outputs: int, copies: int) -> Taker:
        content = layer_network(shape, inputs, outputs, copies)
        return warmed(load_session(content, self.target, self.batch), self.batch, self.generator)
