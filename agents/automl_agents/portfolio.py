"""Several searchers in one study: they share the evaluations, the answers and the front."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from automl_agents.ledger import TrialLedger
from automl_compress.core import Searcher, Snapshot, Suggestion, Trial


class PortfolioSearcher:
    """Lets whichever member has spent least ask next.

    Members know nothing of each other. What one asked before is answered to the next from the
    study's trials, at its price in evaluations: a sensitivity profile is forwarded once,
    however many members use it. Notes begin with the member's name.
    """

    def __init__(self, members: Mapping[str, Searcher]) -> None:
        """Take the members, each built for its share of the effort."""
        self._members = dict(members)
        self._names = list(members)
        self._ledger = TrialLedger()
        self._spent = dict.fromkeys(self._names, 0.0)
        self._asked: dict[int, tuple[str, Suggestion]] = {}  # number here -> the member's own

    def ask(self) -> Suggestion:
        """Pass on what the next member proposes."""
        in_flight = [name for name, _ in self._asked.values()]
        name = min(self._names, key=lambda each: self._spent[each] + in_flight.count(each))
        own = self._members[name].ask()
        suggestion = self._ledger.suggest(
            own.policy, f"{name}: {own.note}".removesuffix(": "), own.role, own.images
        )
        self._asked[suggestion.number] = name, own
        return suggestion

    def tell(self, trial: Trial) -> None:
        """Tell the member that asked.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        name, own = self._asked.pop(trial.number)
        self._spent[name] += 1.0 if trial.measurement is None else trial.measurement.evaluations
        self._members[name].tell(replace(trial, number=own.number, note=own.note))

    def snapshot(self) -> Snapshot:
        """Return the members' snapshots side by side."""
        own = {name: member.snapshot() for name, member in self._members.items()}
        values: dict[str, Any] = {
            "ledger": self._ledger.to_json(),
            "spent": dict(self._spent),
            "asked": [[number, name, own.to_json()] for number, (name, own) in self._asked.items()],
            "members": {name: dict(each.values) for name, each in own.items()},
        }
        arrays = {
            f"{name}/{key}": array
            for name, each in own.items()
            for key, array in each.arrays.items()
        }
        return Snapshot(values, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Give each member its part."""
        values = snapshot.values
        self._ledger.restore(values["ledger"])
        self._spent = {name: float(values["spent"][name]) for name in self._names}
        self._asked = {
            int(number): (name, Suggestion.from_json(content))
            for number, name, content in values["asked"]
        }
        for name, member in self._members.items():
            prefix = f"{name}/"
            arrays = {
                key.removeprefix(prefix): array
                for key, array in snapshot.arrays.items()
                if key.startswith(prefix)
            }
            member.restore(Snapshot(values["members"][name], arrays))
