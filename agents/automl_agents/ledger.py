"""Numbers suggestions and refuses tells that break the searcher's law."""

from collections.abc import Mapping
from typing import Any

from automl_compress.core import Policy, Role, Suggestion, Trial, TrialState
from automl_compress.core.errors import TrialMismatch


class TrialLedger:
    """Knows how many suggestions were made, and which of them wait for their trial."""

    def __init__(self) -> None:
        """Begin at number 0."""
        self.asked = 0
        self.told = 0
        self.open: set[int] = set()

    def suggest(
        self,
        policy: Policy,
        note: str = "",
        role: Role = "candidate",
        images: int | None = None,
    ) -> Suggestion:
        """Give the next number to a policy."""
        suggestion = Suggestion(self.asked, policy, note, role, images)
        self.open.add(self.asked)
        self.asked += 1
        return suggestion

    def settle(self, trial: Trial) -> None:
        """Take note that a suggestion has its trial.

        Raises:
            TrialMismatch: the number was never asked, was told before, or has no outcome yet;
                nothing changes.
        """
        if trial.number not in self.open:
            known = "was told before" if 0 <= trial.number < self.asked else "was never asked for"
            raise TrialMismatch(
                f"trial {trial.number} {known}; waiting for their trials are {sorted(self.open)}; "
                "tell each suggestion once"
            )
        if trial.state is TrialState.RUNNING:
            raise TrialMismatch(
                f"trial {trial.number} is still running; tell it when it is complete or failed"
            )
        self.open.discard(trial.number)
        self.told += 1

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        return {"asked": self.asked, "told": self.told, "open": sorted(self.open)}

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        self.asked, self.told = int(content["asked"]), int(content["told"])
        self.open = {int(number) for number in content["open"]}
