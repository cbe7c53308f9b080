"""What tells one candidate of a network from another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from automl_compress.core import LayerChoice


@dataclass(frozen=True)
class Candidate:
    """A policy with its channels chosen.

    kept: channels of each group, ascending int64.
    layers: what becomes of single layers; those left out stay float.
    """

    kept: Sequence[Tensor]
    layers: Mapping[str, LayerChoice] = field(default_factory=dict[str, LayerChoice])

    @property
    def rounds_inputs(self) -> bool:
        """Whether any layer's inputs are quantised."""
        return any(choice.rounds_inputs for choice in self.layers.values())
