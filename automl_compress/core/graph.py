"""The traced network: which tensors it stores, and which channels must be cut together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

LayerKind = Literal["convolution", "linear", "other"]


@dataclass(frozen=True, slots=True)
class Width:
    """The size of one tensor axis, as an affine function of the groups' kept channels.

    An axis that no group touches has no terms. The input axis of a linear layer behind a
    flattened 7x7 map of group 3 has the one term (3, 49); behind a concatenation there is a
    term for each part.
    """

    fixed: int
    terms: tuple[tuple[int, int], ...] = ()  # (group index, entries for each channel kept)

    def size(self, kept: Sequence[int]) -> int:
        """Return the number of entries when group g keeps `kept[g]` channels."""
        return self.fixed + sum(each * kept[group] for group, each in self.terms)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A parameter or buffer of the network, by its name in the state dict.

    positions is how often each entry takes part in a multiply-accumulate in one forward pass
    at batch 1 (output positions times uses); 0 for what is not a convolution's or linear
    layer's weight.
    """

    name: str
    axes: tuple[Width, ...]
    item_bytes: int
    is_parameter: bool
    positions: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A module with weights, in the order of its first use in a forward pass."""

    name: str
    kind: LayerKind
    operator: str  # the class's name: Conv2d, Linear, BatchNorm2d ...
    weight: str  # state-dict name of the weight, a StoredTensor of the graph
    kernel_size: tuple[int, ...]  # () for linear layers
    stride: tuple[int, ...]
    convolution_groups: int
    in_channels: int
    out_channels: int
    output_size: tuple[int, ...]  # spatial; () after flattening
    calls: int  # how often the module is used in one forward pass
    input_group: int | None = None  # the only group that cuts its input, where there is one
    output_group: int | None = None

    @property
    def is_depthwise(self) -> bool:
        """Whether each input channel has its own filters."""
        return self.convolution_groups > 1 and self.convolution_groups == self.in_channels


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that must be cut together: one decision of a policy.

    name is that of the first layer which produces the group's channels.
    """

    name: str
    channels: int
    producers: tuple[str, ...]  # layers whose outputs are cut
    consumers: tuple[str, ...]  # layers whose inputs are cut


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why some layers cannot be cut: which operator, where, and what can be done.

    Without layers it says what the costs of the layers leave out.
    """

    layers: tuple[str, ...]
    operator: str
    reason: str


@dataclass(frozen=True, slots=True)
class ElementwiseUse:
    """Operations without weights of one example that follow a layer, and grow with its width.

    Attributes:
        layer: the layer with weights that ran last; "" in front of the first one.
        multiplies, additions: in the uncut network, counted as the MicroNet Challenge does.
    """

    layer: str
    multiplies: int
    additions: int


@dataclass(frozen=True)
class LayerGraph:
    """What the search knows of a network: no weights, no code, no torch."""

    input_shape: tuple[int, ...]  # of one example, without the batch axis
    layers: tuple[Layer, ...]
    edges: tuple[tuple[int, int], ...]  # data flow between layers, by index
    groups: tuple[ChannelGroup, ...]
    tensors: tuple[StoredTensor, ...]
    obstacles: tuple[Obstacle, ...] = ()
    fingerprint: str = ""  # `sha256:...` of the structure; what a policy document must match
    elementwise: tuple[ElementwiseUse, ...] = ()
    # Layers that serve only outputs on which no accuracy is measured: they stay whole and float.
    unscored: tuple[str, ...] = ()

    @cached_property
    def full_widths(self) -> tuple[int, ...]:
        """Channels of every group in the uncut network."""
        return tuple(group.channels for group in self.groups)

    @cached_property
    def group_index(self) -> dict[str, int]:
        """Group name to index."""
        return {group.name: index for index, group in enumerate(self.groups)}

    def layer(self, name: str) -> Layer:
        """Return the layer of this module path; KeyError where there is none."""
        return self._layers_by_name[name]

    @cached_property
    def _layers_by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}
