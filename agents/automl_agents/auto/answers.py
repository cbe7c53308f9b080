"""What candidates scored, as the surrogate learns it: on all images, or on a subset."""

from collections.abc import Mapping, Sequence
from typing import Any

from automl_agents.auto.exchange import Setting
from automl_compress.core import Budget, CompressionSpace


class Answers:
    """The scores of settings, higher is better, and what failed.

    Attributes:
        whole: of what all images scored. part: of what a subset scored.
    """

    def __init__(self, space: CompressionSpace) -> None:
        """Begin with none."""
        self._space = space
        self.whole: dict[Setting, float] = {}
        self.part: dict[Setting, float] = {}
        self._failed: set[Setting] = set()
        self._allowed: dict[tuple[Setting, Budget], bool] = {}

    def __len__(self) -> int:
        """Count the scores, subsets' too."""
        return len(self.whole) + len(self.part)

    def __contains__(self, setting: Setting) -> bool:
        """Say whether a setting was measured, or failed."""
        return setting in self.whole or setting in self.part or setting in self._failed

    def fail(self, setting: Setting) -> None:
        """Note that a setting could not be measured."""
        self._failed.add(setting)

    def within(self, budget: Budget) -> dict[Setting, float]:
        """Return the scores within a budget, those on all images where there are both."""
        known = {**self.part, **self.whole}
        return {setting: known[setting] for setting in self._kept(known, budget)}

    def whole_within(self, budget: Budget) -> list[Setting]:
        """Return what all images scored."""
        return self._kept(self.whole, budget)

    def waiting_within(self, budget: Budget) -> list[Setting]:
        """Return what a subset alone scored."""
        return self._kept([each for each in self.part if each not in self.whole], budget)

    def rows(self) -> list[tuple[Setting, bool, float]]:
        """Return setting, whether a subset scored it, and score; a full score replaces it."""
        part = [(each, True, y) for each, y in self.part.items() if each not in self.whole]
        return part + [(each, False, y) for each, y in self.whole.items()]

    def _kept(
        self, settings: Sequence[Setting] | Mapping[Setting, float], budget: Budget
    ) -> list[Setting]:
        for setting in settings:
            if (setting, budget) not in self._allowed:
                self._allowed[setting, budget] = self._space.within(setting, budget)
        return [setting for setting in settings if self._allowed[setting, budget]]

    def to_json(self) -> dict[str, Any]:
        """Return everything for a snapshot."""
        return {
            "whole": [[list(setting), y] for setting, y in self.whole.items()],
            "part": [[list(setting), y] for setting, y in self.part.items()],
            "failed": sorted(list(setting) for setting in self._failed),
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take over what `to_json` wrote."""
        self.whole = {tuple(setting): float(y) for setting, y in values["whole"]}
        self.part = {tuple(setting): float(y) for setting, y in values["part"]}
        self._failed = {tuple(setting) for setting in values["failed"]}
