"""Layers as they are deployed: how many weights at how many bits, and what is folded into them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from automl_compress.core import Layer, LayerGraph, StoredTensor
from automl_compress.core.errors import InvalidInput
from automl_compress.core.weight_grids import WeightScales

_FLOAT_BITS = 32


@dataclass(frozen=True, slots=True)
class LayerBits:
    """What a convolution or linear layer becomes.

    Attributes:
        weight_bits, activation_bits: 1 to 32; activations are the layer's inputs; 32 is float.
        sparsity: fraction of the weights, left after cutting channels, that are zero; in [0, 1).
        has_signed_activations: integer activations keep one of their bits for the sign.
        has_codebooks: codes stand for the values of a codebook of floats, one for each output,
            and not for multiples of a scale.
        weight_scales: one scale for each output (`channel`), or one for the layer (`tensor`).
    """

    weight_bits: int = _FLOAT_BITS
    activation_bits: int = _FLOAT_BITS
    sparsity: float = 0.0
    has_signed_activations: bool = False
    has_codebooks: bool = False
    weight_scales: WeightScales = "channel"

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for the first field that is out of range."""
        for field in ("weight_bits", "activation_bits"):
            value = getattr(self, field)
            if not isinstance(value, int) or not 1 <= value <= _FLOAT_BITS:
                raise InvalidInput(f"{field} is {value!r}; give a whole number from 1 to 32")
        if not 0 <= self.sparsity < 1:
            raise InvalidInput(f"sparsity is {self.sparsity!r}; give a number from 0 to below 1")
        if self.weight_scales not in get_args(WeightScales):
            raise InvalidInput(
                f"weight_scales is {self.weight_scales!r}; give one of: "
                f"{', '.join(get_args(WeightScales))}"
            )

    @property
    def is_quantised(self) -> bool:
        """Whether weights or activations are no floats."""
        return min(self.weight_bits, self.activation_bits) < _FLOAT_BITS

    @property
    def product_bits(self) -> int:
        """Width of one product of integers; two sign bits make one."""
        return self.weight_bits + self.activation_bits - self.has_signed_activations


@dataclass(frozen=True, slots=True)
class WeightLayer:
    """A layer of the compressed network, in numbers.

    Attributes:
        weights: of the full shape; 0 for a normalisation that is not folded.
        nonzero: of them.
        outputs: channels.
        positions: where each weight is multiplied, and each output scaled, for one example.
        has_scale, has_bias: a value for each output that is multiplied, or added.
    """

    name: str
    weights: int
    nonzero: int
    outputs: int
    positions: int
    has_scale: bool
    has_bias: bool
    bits: LayerBits


def weight_layers(
    graph: LayerGraph, widths: Sequence[int], bits: Mapping[str, LayerBits]
) -> list[WeightLayer]:
    """List convolutions, linear layers, and normalisations that cannot be folded into one.

    Args:
        graph: of the uncut network.
        widths: how many channels each group keeps.
        bits: by layer name; the others stay float.

    Raises:
        InvalidInput: a name belongs to no convolution or linear layer.
    """
    multiplying = {layer.name for layer in graph.layers if layer.kind != "other"}
    unknown = sorted(set(bits) - multiplying)
    if unknown:
        raise InvalidInput(
            f"bits are given for {unknown[0]!r}, which is no convolution or linear layer of the "
            f"network; give names such as {sorted(multiplying)[:3]}"
        )
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    folded = folded_norms(graph)
    found: list[WeightLayer] = []
    for layer in graph.layers:
        if layer.kind != "other":
            chosen = bits.get(layer.name, LayerBits())
            adds_bias = has_bias(layer, tensors, folded)
            found.append(_multiplying(layer, tensors, widths, chosen, adds_bias))
        elif layer.name not in folded.values():
            found.append(_norm(layer, tensors, widths))
    return found


def folded_norms(graph: LayerGraph) -> dict[str, str]:
    """Map each convolution or linear layer to the normalisation that alone follows it."""
    after: dict[int, list[int]] = {}
    before: dict[int, list[int]] = {}
    for source, target in graph.edges:
        after.setdefault(source, []).append(target)
        before.setdefault(target, []).append(source)
    found: dict[str, str] = {}
    for source, targets in after.items():
        layer, follower = graph.layers[source], graph.layers[targets[0]]
        is_alone = len(targets) == 1 and before[targets[0]] == [source]
        if is_alone and layer.kind != "other" and "BatchNorm" in follower.operator:
            found[layer.name] = follower.name
    return found


def has_bias(layer: Layer, tensors: Mapping[str, StoredTensor], folded: Mapping[str, str]) -> bool:
    """Say whether a layer adds a value for each output: its own, or that of a folded norm."""
    return layer.name in folded or layer.weight.removesuffix("weight") + "bias" in tensors


def _multiplying(
    layer: Layer,
    tensors: Mapping[str, StoredTensor],
    widths: Sequence[int],
    bits: LayerBits,
    adds_bias: bool,
) -> WeightLayer:
    weight = tensors[layer.weight]
    sizes = [axis.size(widths) for axis in weight.axes]
    weights = 1
    for size in sizes:
        weights *= size
    return WeightLayer(
        name=layer.name,
        weights=weights,
        nonzero=round(weights * (1 - bits.sparsity)),
        outputs=sizes[0],
        positions=weight.positions,
        has_scale=bits.is_quantised and not bits.has_codebooks,
        has_bias=adds_bias,
        bits=bits,
    )


def _norm(layer: Layer, tensors: Mapping[str, StoredTensor], widths: Sequence[int]) -> WeightLayer:
    positions = layer.calls
    for size in layer.output_size:
        positions *= size
    outputs = tensors[layer.weight].axes[0].size(widths)
    return WeightLayer(layer.name, 0, 0, outputs, positions, True, True, LayerBits())
