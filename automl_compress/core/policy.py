"""The compression policy: one choice for each decision."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

from automl_compress.core.errors import PolicyInvalid, PolicyMismatch
from automl_compress.core.graph import LayerGraph
from automl_compress.core.weight_grids import BIT_WIDTHS, FLOAT_BITS, WeightScales, obstacle

Scheme = Literal["channel"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What one group of coupled channels becomes.

    group: the group's name.
    sparsity: fraction of the group's channels that is removed, in [0, 1); 0 = untouched.
    kept: indices of the kept channels, ascending; None leaves the choice to `criterion`.
    criterion: what chose them, or will; `search` where the search itself did.
    """

    group: str
    sparsity: float
    scheme: Scheme = "channel"
    criterion: str = "l1"
    kept: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the choice as a JSON object."""
        return {
            "group": self.group,
            "scheme": self.scheme,
            "sparsity": self.sparsity,
            "criterion": self.criterion,
            "kept": None if self.kept is None else list(self.kept),
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
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PolicyInvalid(f"a choice of the policy cannot be read: {error!r}") from error
        _check_sparsity(f"group {choice.group!r}", choice.sparsity)
        if choice.scheme != "channel":
            raise PolicyInvalid(
                f"group {choice.group!r} has scheme {choice.scheme!r}; channels are cut by "
                "'channel', single weights are zeroed in 'layers'"
            )
        return choice


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """What becomes of one convolution's or linear layer's weights and inputs.

    layer: its module path.
    sparsity: fraction of the weights, left after channels were cut, that become zero: those of
        smallest magnitude (scheme `element`); in [0, 1), 0 = untouched.
    weight_bits, activation_bits: of BIT_WIDTHS; activations are the layer's inputs.
    quantiser: how the weights' values are found; of `core.weight_grids.QUANTISER_BITS`.
    weight_scales: `channel`, one for each output channel, or `tensor`, one for the layer.
    """

    layer: str
    sparsity: float = 0.0
    weight_bits: int = FLOAT_BITS
    activation_bits: int = FLOAT_BITS
    quantiser: str = "scan"
    weight_scales: WeightScales = "channel"

    def __post_init__(self) -> None:
        """Refuse what no layer can become; raises PolicyInvalid, UnknownName for a quantiser."""
        _check_sparsity(f"layer {self.layer!r}", self.sparsity)
        for name in ("weight_bits", "activation_bits"):
            if getattr(self, name) not in BIT_WIDTHS:
                raise PolicyInvalid(
                    f"layer {self.layer!r} has {name} {getattr(self, name)!r}; "
                    f"choose one of: {', '.join(map(str, BIT_WIDTHS))}"
                )
        unable = obstacle(self.quantiser, (self.weight_bits,), self.weight_scales)
        if unable is not None:
            raise PolicyInvalid(f"layer {self.layer!r}: {unable}")
        if self.sparsity and self.weight_bits == 1:
            raise PolicyInvalid(
                f"layer {self.layer!r} has zero weights and one bit, which has no code for zero; "
                "give 2 bits or more, or sparsity 0"
            )

    @property
    def changes_weights(self) -> bool:
        """Whether the layer's weights become sparse or quantised."""
        return bool(self.sparsity) or self.weight_bits < FLOAT_BITS

    @property
    def rounds_inputs(self) -> bool:
        """Whether the layer's inputs become quantised."""
        return self.activation_bits < FLOAT_BITS

    @property
    def is_untouched(self) -> bool:
        """Whether the layer stays as it is."""
        return not self.changes_weights and not self.rounds_inputs

    def to_json(self) -> dict[str, Any]:
        """Return the choice as a JSON object; scales of channels, as policies had, go unsaid."""
        content = asdict(self)
        if self.weight_scales == "channel":
            del content["weight_scales"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "LayerChoice":
        """Read what `to_json` wrote; raises PolicyInvalid."""
        try:
            return cls(
                layer=str(content["layer"]),
                sparsity=float(content["sparsity"]),
                weight_bits=int(content["weight_bits"]),
                activation_bits=int(content["activation_bits"]),
                quantiser=str(content["quantiser"]),
                weight_scales=content.get("weight_scales", "channel"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PolicyInvalid(f"a layer of the policy cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Policy:
    """One choice for each group of a graph, in the graph's order; hashable.

    layers: those whose weights or inputs change, in the graph's order; the others stay float.
    """

    choices: tuple[Choice, ...]
    layers: tuple[LayerChoice, ...] = ()

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

    def layer_choices(self, graph: LayerGraph) -> dict[str, LayerChoice]:
        """Return the choices for single layers, by layer.

        Raises:
            PolicyMismatch: a choice names no convolution or linear layer of the graph.
        """
        known = {layer.name for layer in graph.layers if layer.kind != "other"}
        unknown = [choice.layer for choice in self.layers if choice.layer not in known]
        if unknown:
            raise PolicyMismatch(
                f"the policy decides on {unknown[:5]}, which are no convolutions or linear layers "
                "of the network; use a policy that was made for this network"
            )
        return {choice.layer: choice for choice in self.layers}

    def with_kept(self, kept: Sequence[Sequence[int]]) -> "Policy":
        """Return the policy with explicit channels, one ascending sequence for each choice."""
        return Policy(
            tuple(
                replace(choice, kept=tuple(int(index) for index in indices))
                for choice, indices in zip(self.choices, kept, strict=True)
            ),
            self.layers,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the choices as a JSON object."""
        return {
            "groups": [choice.to_json() for choice in self.choices],
            "layers": [choice.to_json() for choice in self.layers],
        }

    @classmethod
    def from_json(cls, content: object) -> "Policy":
        """Read what `to_json` wrote; raises PolicyInvalid."""
        found = cast("Mapping[str, Sequence[Mapping[str, Any]]]", content)
        if not isinstance(content, Mapping) or not {"groups", "layers"} <= found.keys():
            raise PolicyInvalid(
                "a policy is an object with a list 'groups' and a list 'layers'; got "
                f"{str(found)[:80]}"
            )
        return cls(
            tuple(Choice.from_json(each) for each in found["groups"]),
            tuple(LayerChoice.from_json(each) for each in found["layers"]),
        )

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


def _check_sparsity(place: str, sparsity: float) -> None:
    if not 0.0 <= sparsity < 1.0:
        raise PolicyInvalid(f"{place} has sparsity {sparsity!r}; allowed is 0 to below 1")
