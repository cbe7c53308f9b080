"""The contracts that the floors meet through. Each has one test-suite in tests/contracts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from automl_compress.core.budget import Cost
from automl_compress.core.policy import Policy
from automl_compress.core.trial import Measurement, Suggestion, Trial


class CostModel(Protocol):
    """Says what a policy costs without building the network."""

    @property
    def full(self) -> Cost:
        """What the uncut float network costs."""
        ...

    def cost(self, setting: Sequence[int]) -> Cost:
        """Return the cost of a setting; never falls as one of its values grows.

        Args:
            setting: kept channels of each group, then what the space decides for layers.
        """
        ...


class Evaluator(Protocol):
    """Scores a policy under one recipe, on one set of images."""

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        """Measure a policy. The same policy and images give the same accuracy and score.

        Args:
            policy: of the evaluator's network.
            images: which of the recipe's images score it, without a step; None for all.
        """
        ...


@dataclass(frozen=True)
class Snapshot:
    """The state of a searcher: JSON values and arrays, never pickled objects."""

    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


class Searcher(Protocol):
    """Proposes policies and learns from their measurements.

    Laws, run by tests/contracts on every searcher:

    - `ask` never evaluates; it may be called several times before a `tell`.
    - Suggestions are numbered 0, 1, 2 ... in the order of the asks; every policy lies in the
      space, and every candidate within the budget. Only candidates that all of the recipe's
      images scored can win.
    - `tell` comes in any order, once for each suggestion, also for failed trials; an unknown
      or already told number raises TrialMismatch and changes nothing.
    - A failed trial never makes the next ask raise.
    - The same seed and the same sequence of asks and tells gives the same suggestions.
    - `snapshot` may be taken at any time, also between an ask and its tell; `restore` on a
      fresh searcher of the same specification continues as if nothing had happened.
    """

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        ...

    def tell(self, trial: Trial) -> None:
        """Learn what became of a suggestion.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Return all that `restore` needs."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the state of a snapshot."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """An ask, as the store keeps it."""

    suggestion: Suggestion


@dataclass(frozen=True, slots=True)
class Told:
    """A tell, as the store keeps it."""

    trial: Trial


class TrialStore(Protocol):
    """The truth about the trials of one study.

    Laws: what a call returned from is durable; an event is stored once; `history` gives asks
    and tells in the order in which they happened; a trial that was told stays as it is.
    """

    def asked(self, suggestion: Suggestion) -> None:
        """Store an ask; a second time with the same number and policy changes nothing."""
        ...

    def told(self, trial: Trial, snapshot: Snapshot | None = None) -> None:
        """Store a tell, and with it the searcher's state after it, in one transaction.

        Raises:
            TrialMismatch: the number was not asked for, or is stored already.
        """
        ...

    def trials(self) -> Sequence[Trial]:
        """Return every trial by number, running ones included."""
        ...

    def history(self) -> tuple[Snapshot | None, Sequence[Asked | Told]]:
        """Return the latest snapshot and the events since it, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an executor made of a suggestion: a measurement, or the reason why there is none."""

    number: int
    measurement: Measurement | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """A measurement that another study made; source says where, for the trial's note."""

    measurement: Measurement
    source: str


#: Finds what another study measured of a suggestion: same network, data and recipe. The second
#: argument is how many of the first images count as measured already, so that the effort of the
#: answer is that of the others.
Recall = Callable[[Suggestion, int], Recalled | None]


class Executor(Protocol):
    """Evaluates policies somewhere else: in child processes, or on a cluster.

    Laws: every submitted number comes back exactly once, also when its process dies (as a
    failure); at most `capacity` are in flight.
    """

    capacity: int

    def submit(self, number: int, policy: Policy, images: slice | None = None) -> None:
        """Start an evaluation; legal while fewer than `capacity` are in flight."""
        ...

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        """Wait for the next outcome; None when the time ran out before one came."""
        ...

    def close(self) -> None:
        """End every process; evaluations in flight are dropped."""
        ...
