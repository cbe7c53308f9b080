"""What `auto` is about to ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from automl_agents.auto.exchange import Setting


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy to measure, and why.

    images: how many score it; None for all.
    filters: which are kept, as places in a `FilterMasks` mask; None leaves them to the criterion.
    """

    setting: Setting
    images: int | None
    note: str
    filters: tuple[int, ...] | None = None

    def to_json(self) -> list[Any]:
        """Return the plan as a JSON array."""
        filters = None if self.filters is None else list(self.filters)
        return [list(self.setting), self.images, self.note, filters]

    @classmethod
    def from_json(cls, content: Sequence[Any]) -> "Plan":
        """Read what `to_json` returned."""
        setting, images, note, filters = content
        return cls(tuple(setting), images, note, None if filters is None else tuple(filters))
