"""The candidates of a searcher that has a list of them, and the best one told so far."""

from collections.abc import Mapping, Sequence
from typing import Any

from automl_agents.ledger import TrialLedger
from automl_compress.core import CompressionSpace, Suggestion, Trial


class CandidateList:
    """Asks each new candidate once, then the best one again and again.

    A study answers repetitions without evaluating; each counts as an evaluation all the same.
    """

    def __init__(self, space: CompressionSpace) -> None:
        """Begin empty."""
        self._space = space
        self._known: list[tuple[int, ...]] = []  # in the order in which they were added
        self._new: list[tuple[int, str]] = []  # place among the known, note
        self._best: tuple[float, tuple[int, ...]] | None = None

    @property
    def has_new(self) -> bool:
        """Whether a candidate waits to be asked."""
        return bool(self._new)

    @property
    def best_score(self) -> float | None:
        """The best score told so far."""
        return None if self._best is None else self._best[0]

    @property
    def best(self) -> tuple[int, ...]:
        """The setting of the best candidate told so far; the first one before any was told."""
        return self._known[0] if self._best is None else self._best[1]

    def add(self, setting: Sequence[int], note: str) -> bool:
        """Add a setting within the budget; return whether it is new."""
        candidate = tuple(setting)
        if candidate in self._known:
            return False
        self._new.append((len(self._known), note))
        self._known.append(candidate)
        return True

    def ask(self, ledger: TrialLedger) -> Suggestion:
        """Ask the next candidate, or the best one where none is new; one was added before."""
        if not self._new:
            return ledger.suggest(self._space.policy(self.best), "nothing new: the best one again")
        place, note = self._new.pop(0)
        return ledger.suggest(self._space.policy(self._known[place]), note)

    def tell(self, trial: Trial) -> None:
        """Compare a settled trial; of equal ones the first told stays the best."""
        if trial.score is not None and (self._best is None or trial.score > self._best[0]):
            self._best = trial.score, self._space.setting(trial.policy)

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        return {
            "known": [list(setting) for setting in self._known],
            "new": [list(each) for each in self._new],
            "best": None if self._best is None else [self._best[0], list(self._best[1])],
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        self._known = [tuple(setting) for setting in content["known"]]
        self._new = [(place, note) for place, note in content["new"]]
        best = content["best"]
        self._best = None if best is None else (best[0], tuple(best[1]))
