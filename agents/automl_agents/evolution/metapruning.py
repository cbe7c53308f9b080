"""MetaPruning's evolutionary search: one gene for each decision, crossed and mutated."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from automl_agents.evolution.metapruning_config import MetaPruningConfig
from automl_agents.ledger import TrialLedger
from automl_agents.random_stream import random_stream
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial
from automl_compress.core.errors import WrongState
from automl_compress.core.pruning_net import CHANNEL_SCALES

SNAPSHOT_LAYOUT = 2
TRIES = 10  # to find each new candidate of a kind, as in the public code
MISSES = 50  # in a row, after which nothing new is looked for: the space is small, or used up
DRAWS = 100  # at random, until one is within the budget; then it is repaired
SCALES = np.array(CHANNEL_SCALES)
SMALLEST_CHANGE = 1e-6  # of a share


@dataclass(frozen=True)
class Candidate:
    """A structure: its genes (decisions,), shares in (0, 1]; the setting that they give."""

    genes: np.ndarray
    setting: tuple[int, ...]
    note: str


@dataclass(frozen=True)
class Parent:
    """A measured candidate."""

    score: float
    number: int
    genes: np.ndarray


Make = Callable[[np.random.Generator], tuple[np.ndarray, str]]


class MetaPruningSearcher:
    """Breeds generation after generation from the best candidates so far.

    A generation is bred when the one before was asked for as a whole, from what was told by
    then: half of it mutants and half crossovers of the best, each new, and random ones where
    these find nothing new. Corrected mode scales every candidate to the budget and goes on
    with the genes of what was measured.

    Source: Liu et al., MetaPruning (ICCV 2019), section 3.2, and the operators of
    liuzechun/MetaPruning, mobilenetv1/searching.
    """

    def __init__(self, problem: SearchProblem, config: MetaPruningConfig) -> None:
        """Begin with generation 0.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        problem.space.check_reachable(problem.budget)
        self._problem, self.config = problem, config
        self._size = config.generation_size(problem)
        self._parent_count = config.parent_count(problem)
        self._is_faithful = config.mode == "faithful"
        self._ledger = TrialLedger()
        self._generation = 0  # the next one
        self._queue: list[Candidate] = []
        self._seen: set[tuple[int, ...]] = set()
        self._waiting: dict[int, np.ndarray] = {}
        self._parents: list[Parent] = []

    def ask(self) -> Suggestion:
        """Propose the next candidate of the generation."""
        if not self._queue:
            self._breed()
        chosen = self._queue.pop(0)
        self._waiting[self._ledger.asked] = chosen.genes
        return self._ledger.suggest(self._problem.space.policy(chosen.setting), chosen.note)

    def tell(self, trial: Trial) -> None:
        """Let the trial compete for a place among the parents; a failed one has none.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        genes = self._waiting.pop(trial.number)
        if trial.score is None or not math.isfinite(trial.score):
            return
        self._parents.append(Parent(trial.score, trial.number, genes))
        self._parents.sort(key=lambda each: (-each.score, each.number))
        del self._parents[self._parent_count :]

    def _breed(self) -> None:
        rng = random_stream(self._problem.seed, self._generation)
        if self._generation == 0 and not self._is_faithful:
            self._add(np.ones(len(self._problem.space.allowed)), "uniform")
        if self._parents:
            mutants = round(self._size * self.config.mutation_share)
            self._fill(rng, mutants, self._mutant)
            self._fill(rng, self._size - mutants, self._crossover)
        self._fill(rng, self._size - len(self._queue), self._random)
        if not self._queue:  # nothing new is left in this space
            self._queue.append(self._repaired(*self._random(rng)))
        self._generation += 1

    def _fill(self, rng: np.random.Generator, count: int, make: Make) -> None:
        """Add as many new candidates, if enough tries find them."""
        missed, tried = 0, set[tuple[int, ...]]()
        for _ in range(TRIES * count):
            if count <= 0 or missed >= MISSES:
                return
            genes, note = make(rng)
            clipped = self._problem.space.clip(genes.tolist())
            # Scaling to the budget is dear, and gives for the same values the same again.
            is_added = clipped not in tried and self._add(genes, note)
            tried.add(clipped)
            count, missed = (count - 1, 0) if is_added else (count, missed + 1)

    def _add(self, genes: np.ndarray, note: str) -> bool:
        """Queue a candidate unless it was asked for before or may not be."""
        candidate = self._admitted(genes, note)
        if candidate is None or candidate.setting in self._seen:
            return False
        self._seen.add(candidate.setting)
        self._queue.append(candidate)
        return True

    def _admitted(self, genes: np.ndarray, note: str) -> Candidate | None:
        if not self._is_faithful:
            return self._repaired(genes, note)
        setting = self._problem.space.clip(genes.tolist())
        is_within = self._problem.space.within(setting, self._problem.budget)
        return Candidate(genes, setting, self._noted(note)) if is_within else None

    def _repaired(self, genes: np.ndarray, note: str) -> Candidate:
        """Scale genes to the budget; what is bred on is what was measured."""
        space = self._problem.space
        setting = space.project(genes.tolist(), self._problem.budget)
        return Candidate(space.shares(setting), setting, self._noted(note))

    def _noted(self, note: str) -> str:
        return f"generation {self._generation}: {note}"

    def _random(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """Draw every gene; in faithful mode until the budget holds, within reason."""
        space, budget = self._problem.space, self._problem.budget
        genes = rng.choice(SCALES, len(space.allowed))
        if not self._is_faithful:
            return genes, "random"
        for _ in range(DRAWS):
            if space.within(space.clip(genes.tolist()), budget):
                return genes, "random"
            genes = rng.choice(SCALES, len(space.allowed))
        return self._repaired(genes, "").genes, "random, repaired: draws stay over the budget"

    def _mutant(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """Give each gene of a parent another scale, with a small probability."""
        parent = self._parents[rng.integers(len(self._parents))]
        genes = parent.genes.copy()
        for place in np.flatnonzero(rng.random(len(genes)) < self.config.mutation_probability):
            others = SCALES[np.abs(SCALES - genes[place]) > SMALLEST_CHANGE]
            genes[place] = rng.choice(others)
        return genes, f"mutant of trial {parent.number}"

    def _crossover(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """Take each gene from one of two parents."""
        first, second = (self._parents[each] for each in rng.integers(len(self._parents), size=2))
        takes_first = rng.random(len(first.genes)) < 0.5
        genes = np.where(takes_first, first.genes, second.genes)
        return genes, f"crossover of trials {first.number} and {second.number}"

    def snapshot(self) -> Snapshot:
        """Return parents, candidates that wait, all settings so far, and counts."""
        values = {
            "layout": SNAPSHOT_LAYOUT,
            "mode": self.config.mode,
            "ledger": self._ledger.to_json(),
            "generation": self._generation,
            "notes": [each.note for each in self._queue],
            "parents": [{"score": each.score, "number": each.number} for each in self._parents],
            "waiting": list(self._waiting),
        }
        stacked = partial(_stacked, decisions=len(self._problem.space.allowed))
        arrays = {
            "queue.genes": stacked([each.genes for each in self._queue]),
            "queue.settings": stacked([each.setting for each in self._queue]).astype(np.int64),
            "seen.settings": stacked(sorted(self._seen)).astype(np.int64),
            "parents.genes": stacked([each.genes for each in self._parents]),
            "waiting.genes": stacked(list(self._waiting.values())),
        }
        return Snapshot(values, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot.

        Raises:
            WrongState: it was made by another version or mode.
        """
        values, arrays = snapshot.values, snapshot.arrays
        made = (values.get("layout"), values.get("mode"))
        if made != (SNAPSHOT_LAYOUT, self.config.mode):
            raise WrongState(
                f"the snapshot has layout {made[0]!r} of mode {made[1]!r}; this searcher reads "
                f"layout {SNAPSHOT_LAYOUT} of mode {self.config.mode!r}; start a new study"
            )
        self._ledger.restore(values["ledger"])
        self._generation = int(values["generation"])
        self._seen = {_setting(row) for row in arrays["seen.settings"]}
        queued = zip(arrays["queue.genes"], arrays["queue.settings"], values["notes"], strict=True)
        self._queue = [Candidate(genes, _setting(row), note) for genes, row, note in queued]
        parents = zip(values["parents"], arrays["parents.genes"], strict=True)
        self._parents = [
            Parent(float(told["score"]), int(told["number"]), genes) for told, genes in parents
        ]
        waiting = zip(values["waiting"], arrays["waiting.genes"], strict=True)
        self._waiting = {int(number): genes for number, genes in waiting}


def _stacked(rows: Sequence[Sequence[float] | np.ndarray], decisions: int) -> np.ndarray:
    """Return the rows as one array (rows, decisions), also where there is none."""
    return np.array(rows, dtype=np.float64).reshape(len(rows), decisions)


def _setting(row: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in row)
