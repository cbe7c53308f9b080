"""The compression policy: one choice for each decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from automl_compress.core.errors import PolicyInvalid, PolicyMismatch
from automl_compress.core.graph import LayerGraph

Scheme = Literal["channel"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What one group of coupled channels becomes.

    group: the group's name.
    sparsity: fraction of the group's channels that is removed, in [0, 1); 0 = untouched.
    kept: indices of the kept channels, ascending; None leaves the choice to `criterion`.
    weight_bits, activation_bits: 32 = untouched.
    """

    group: str
    sparsity: float
    scheme: Scheme = "channel"
    criterion: str = "l1"
    kept: tuple[int, ...] | None = None
    weight_bits: int = 32
    activation_bits: int = 32

    def to_json(self) -> dict[str, Any]:
        """Return the choice as a JSON object."""
        return {
            "group": self.group,
            "scheme": self.scheme,
            "sparsity": self.sparsity,
            "criterion": self.criterion,
            "kept": None if self.kept is None else list(self.kept),
            "weight_bits": self.weight_bits,
            "activation_bits": self.activation_bits,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Choice":
        """Read a choice; raises PolicyInvalid, naming the field that is wrong."""
        try:
            kept = content.get("kept")
            choice = cls(
                group=str(content["group"]),
                sparsity=float(content["sparsity"]),
                scheme=content.get("scheme", "channel"),
                criterion=str(content.get("criterion", "l1")),
                kept=None if kept is None else tuple(int(index) for index in kept),
                weight_bits=int(content.get("weight_bits", 32)),
                activation_bits=int(content.get("activation_bits", 32)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PolicyInvalid(f"a choice of the policy cannot be read: {error!r}") from error
        choice._check()
        return choice

    def _check(self) -> None:
        if not 0.0 <= self.sparsity < 1.0:
            raise PolicyInvalid(
                f"group {self.group!r} has sparsity {self.sparsity!r}; allowed is 0 to below 1"
            )
        if self.scheme != "channel":
            raise PolicyInvalid(
                f"group {self.group!r} has scheme {self.scheme!r}; this version applies 'channel'"
            )
        if self.weight_bits != 32 or self.activation_bits != 32:
            raise PolicyInvalid(
                f"group {self.group!r} asks for {self.weight_bits}/{self.activation_bits} bits; "
                "this version applies 32/32 only"
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """One choice for each group of a graph, in the graph's order. Hashable."""

    choices: tuple[Choice, ...]

    def widths(self, graph: LayerGraph) -> tuple[int, ...]:
        """Return how many channels each group keeps.

        Raises:
            PolicyMismatch: the choices do not name the graph's groups, in their order.
        """
        names = tuple(choice.group for choice in self.choices)
        expected = tuple(group.name for group in graph.groups)
        if names != expected:
            missing = [name for name in expected if name not in names]
            unknown = [name for name in names if name not in expected]
            raise PolicyMismatch(
                f"the policy decides {len(names)} groups, the network has {len(expected)}; "
                f"missing: {missing[:5]}, unknown: {unknown[:5]}; "
                "use a policy that was made for this network"
            )
        return tuple(
            kept_channels(group.channels, choice.sparsity)
            for group, choice in zip(graph.groups, self.choices, strict=True)
        )

    def with_kept(self, kept: Sequence[Sequence[int]]) -> "Policy":
        """Return the policy with explicit channels, one ascending sequence for each choice."""
        return Policy(
            tuple(
                replace(choice, kept=tuple(int(index) for index in indices))
                for choice, indices in zip(self.choices, kept, strict=True)
            )
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the choices as a JSON array."""
        return [choice.to_json() for choice in self.choices]

    @classmethod
    def from_json(cls, content: object) -> "Policy":
        """Read what `to_json` wrote; raises PolicyInvalid."""
        if not isinstance(content, Sequence) or isinstance(content, str):
            raise PolicyInvalid(f"a policy is a list of choices, not {type(content).__name__}")
        choices = cast("Sequence[Mapping[str, Any]]", content)
        return cls(tuple(Choice.from_json(each) for each in choices))

    @classmethod
    def from_widths(
        cls, graph: LayerGraph, widths: Sequence[int], criterion: str = "l1"
    ) -> "Policy":
        """Make the policy under which group g keeps `widths[g]` channels."""
        return cls(
            tuple(
                Choice(group.name, 1.0 - width / group.channels, criterion=criterion)
                for group, width in zip(graph.groups, widths, strict=True)
            )
        )


def kept_channels(channels: int, sparsity: float) -> int:
    """Return how many of `channels` remain at this sparsity: the nearest integer, at least 1."""
    return max(1, round(channels * (1.0 - sparsity)))
