"""What layers of one shape take on one target, on a grid of widths."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from automl_compress.core import Layer

DEPTHWISE = 0
# Times that differ by fewer of their spreads are not told apart.
TOLD_APART = 2.0
_ASSUMED_SPREAD = 0.007  # of a time of unknown spread: two are told apart from 2 % on
_SIZES = ("kernel_size", "stride", "output_size")


@dataclass(frozen=True, slots=True)
class LayerShape:
    """All that decides a layer's time but its channels.

    convolution_groups: DEPTHWISE (0) where every channel has filters of its own.
    is_integer: computed in int8, from an input in int8.
    """

    kind: Literal["convolution", "linear"]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    output_size: tuple[int, ...]
    convolution_groups: int
    is_integer: bool = False

    @classmethod
    def of(cls, layer: Layer, *, is_integer: bool = False) -> "LayerShape":
        """Return the shape of a convolution or linear layer."""
        assert layer.kind != "other"
        groups = DEPTHWISE if layer.is_depthwise else layer.convolution_groups
        sizes = layer.kernel_size, layer.stride, layer.output_size
        return cls(layer.kind, *sizes, groups, is_integer)

    def to_json(self) -> dict[str, Any]:
        """Return the shape as a JSON object."""
        content = asdict(self)
        return content | {name: list(content[name]) for name in _SIZES}

    def __str__(self) -> str:
        """Say the shape in words."""
        arithmetic = " in int8" if self.is_integer else ""
        if self.kind == "linear":
            return f"a linear layer{arithmetic}"
        kernel, size, stride = (
            "x".join(map(str, each)) for each in (self.kernel_size, self.output_size, self.stride)
        )
        kind = "depthwise convolution" if self.convolution_groups == DEPTHWISE else "convolution"
        return f"a {kernel} {kind}{arithmetic} that gives {size}, stride {stride}"


@dataclass(frozen=True)
class LayerTimes:
    """What layers of one shape take, on a grid of widths.

    inputs: ascending sizes of the weight's second axis: input channels, by convolution group.
    outputs: ascending output channels.
    nanoseconds: of one call, (inputs, outputs).
    spreads: standard errors of these, in nanoseconds, (inputs, outputs); None where they are
        unknown.
    """

    shape: LayerShape
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nanoseconds: np.ndarray
    spreads: np.ndarray | None = None

    def fineness(self, cuts_inputs: bool, cuts_outputs: bool) -> int:
        """Return how many widths there are on the axes that are cut."""
        return len(self.inputs) * cuts_inputs + len(self.outputs) * cuts_outputs

    def enveloped(self) -> "LayerTimes":
        """Return times that never fall as a width grows: the least of this and all larger ones."""
        return replace(self, nanoseconds=_least_of_larger(self.nanoseconds))

    def smoothed(self) -> "LayerTimes":
        """Return times moved towards ones that never fall as a width grows, within their spreads.

        What falls by more than times that are not told apart can is an effect of the engine, and
        stays.
        """
        times, told_apart = self.nanoseconds, TOLD_APART * self.known_spreads
        # The envelope from below and the one from above: their middle leans to neither side.
        middle = (_most_of_smaller(times) + _least_of_larger(times)) / 2
        return replace(self, nanoseconds=np.clip(middle, times - told_apart, times + told_apart))

    def breaking_monotony(self) -> np.ndarray:
        """Return which times are told apart from a shorter one of a wider layer, or its like.

        Returns:
            bool (inputs, outputs), both of each such pair that are neighbours in the grid.
        """
        found = np.zeros(self.nanoseconds.shape, dtype=bool)
        for axis in (0, 1):
            times, spreads, marks = (
                np.moveaxis(each, axis, 0) for each in (self.nanoseconds, self.known_spreads, found)
            )
            falls = times[:-1] - times[1:] > told_apart(spreads[:-1], spreads[1:])
            marks[:-1] |= falls
            marks[1:] |= falls
        return found

    @property
    def known_spreads(self) -> np.ndarray:
        """Spreads, assumed to be small shares of the times where they are unknown."""
        return _ASSUMED_SPREAD * self.nanoseconds if self.spreads is None else self.spreads


def told_apart(one: ArrayLike, other: ArrayLike) -> Any:
    """Return from which difference on two times of such spreads are told apart."""
    return TOLD_APART * np.hypot(one, other)


def _least_of_larger(times: np.ndarray) -> np.ndarray:
    reverse = times[::-1, ::-1]
    return np.minimum.accumulate(np.minimum.accumulate(reverse, axis=0), axis=1)[::-1, ::-1]


def _most_of_smaller(times: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(np.maximum.accumulate(times, axis=0), axis=1)
