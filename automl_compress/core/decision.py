"""One decision of a search: what is decided, and its allowed values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Literal

from automl_compress.core.graph import LayerGraph
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.core.space_options import SpaceOptions

#: width: kept channels of a group. density: kept weights of a layer, in percent.
DecisionKind = Literal["width", "density", "weight_bits", "activation_bits"]
WHOLE_DENSITY = 100


@dataclass(frozen=True)
class Decision:
    """What is decided.

    target: the group of a width; the layer of any other kind.
    allowed: values, ascending; costs never fall as they grow.
    full: the value that leaves the network as it is.
    """

    kind: DecisionKind
    target: str
    allowed: tuple[int, ...]
    full: int

    @property
    def name(self) -> str:
        """How the decision is called where one name must do: the group, or kind and layer."""
        return self.target if self.kind == "width" else f"{self.kind}.{self.target}"

    @cached_property
    def amounts(self) -> tuple[int, ...]:
        """The allowed values on the scale on which they are varied: bits count as 1, 2, 3 ..."""
        if self.is_ordinal:
            return tuple(range(1, len(self.allowed) + 1))
        return self.allowed

    @property
    def full_amount(self) -> int:
        """The amount that is a share of 1."""
        return len(self.allowed) if self.is_ordinal else self.full

    @property
    def is_ordinal(self) -> bool:
        """Whether only the order of values counts, as it does for bits."""
        return self.kind in ("weight_bits", "activation_bits")


def decisions_of(graph: LayerGraph, options: SpaceOptions) -> tuple[Decision, ...]:
    """List the decisions of a search: widths of all groups, then what the layers open.

    Layers come in the graph's order: all densities, all weight bits, all activation bits.
    """
    fixed = dict(options.fix)
    found = [
        Decision(
            "width",
            group.name,
            _allowed_widths(group.channels, group.name, options, fixed),
            group.channels,
        )
        for group in graph.groups
    ]
    layers = [
        layer.name
        for layer in graph.layers
        if layer.kind != "other" and layer.name not in graph.unscored
    ]
    if "element" in options.schemes:
        densities = _allowed_densities(options)
        found += [_of_layer("density", name, densities, options) for name in layers]
    found += _bits_of("weight_bits", options.weight_bits, layers, options)
    found += _bits_of("activation_bits", options.activation_bits, layers, options)
    return tuple(found)


def _bits_of(
    kind: DecisionKind, allowed: tuple[int, ...], layers: Sequence[str], options: SpaceOptions
) -> list[Decision]:
    edge = allowed if options.edge_bits is None else (options.edge_bits,)
    return [
        _of_layer(kind, name, edge if name in (layers[0], layers[-1]) else allowed, options)
        for name in layers
        if allowed
    ]


def _of_layer(
    kind: DecisionKind, layer: str, allowed: tuple[int, ...], options: SpaceOptions
) -> Decision:
    full = WHOLE_DENSITY if kind == "density" else FLOAT_BITS
    return Decision(kind, layer, (full,) if layer in options.skip else allowed, full)


def _allowed_densities(options: SpaceOptions) -> tuple[int, ...]:
    step = options.density_step
    smallest = WHOLE_DENSITY * (1.0 - options.max_element_sparsity)
    first = max(step, ceil(smallest / step - 1e-9) * step)
    return tuple(sorted({*range(first, WHOLE_DENSITY, step), WHOLE_DENSITY}))


def _allowed_widths(
    channels: int, name: str, options: SpaceOptions, fixed: Mapping[str, float]
) -> tuple[int, ...]:
    if name in options.skip or ("channel" not in options.schemes and name not in fixed):
        return (channels,)
    step = options.round_to
    smallest = max(
        1, ceil(channels * (1.0 - options.max_sparsity) - 1e-9)
    )  # 3.0000000000000004 is 3
    if name in fixed:
        smallest = max(1, round(channels * (1.0 - fixed[name])))
        return (min(channels, -(-smallest // step) * step),)
    first = min(channels, -(-smallest // step) * step)
    return tuple(sorted({*range(first, channels, step), channels}))
