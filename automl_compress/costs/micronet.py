"""The score of the MicroNet Challenge 2019: storage and operations, weighted by bits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from automl_compress.core import ElementwiseUse, LayerGraph
from automl_compress.core.errors import InvalidInput
from automl_compress.costs.adders import Accumulator, accumulation_bits
from automl_compress.costs.layer_bits import LayerBits, WeightLayer, weight_layers

Track = Literal["imagenet", "cifar100", "wikitext103"]
_FLOAT_BITS = 32

# Parameters and operations of the baselines, multiplications and additions counted separately:
# MobileNetV2-1.4, WideResNet-28-10 and an LSTM (for each token), from the challenge's rules.
_BASELINES: Mapping[Track, tuple[float, float]] = {
    "imagenet": (6.9e6, 1170e6),
    "cifar100": (36.5e6, 10.49e9),
    "wikitext103": (159e6, 318e6),
}


def baseline(track: Track) -> tuple[float, float]:
    """Return parameters and operations of a track's baseline.

    Raises:
        InvalidInput: there is no such track.
    """
    if track not in _BASELINES:
        raise InvalidInput(f"track is {track!r}; give one of: {', '.join(_BASELINES)}")
    return _BASELINES[track]


@dataclass(frozen=True, slots=True)
class MicroNetRules:
    """What the rules leave to the entrant.

    Attributes:
        accumulator: how products are added up; see `accumulation_bits`. Layers with float
            weights or activations add at 32 bits.
        scale_bits: of stored scales and biases of quantised layers and of their use; 16 or 32.
        elementwise_bits: of activations and additions of branches; 16 or 32.
        counts_separate_norms: False leaves out normalisations that cannot be folded into the
            layer in front of them, as the winning entry's own counter did.
        takes_freebie: a network without any quantisation counts storage and multiplications at
            16 bits; with any, this changes nothing.
    """

    accumulator: Accumulator = "fp32"
    scale_bits: int = _FLOAT_BITS
    elementwise_bits: int = _FLOAT_BITS
    counts_separate_norms: bool = True
    takes_freebie: bool = False

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for the first field that is out of range."""
        if self.accumulator not in get_args(Accumulator):
            raise InvalidInput(
                f"accumulator is {self.accumulator!r}; give one of: "
                f"{', '.join(get_args(Accumulator))}"
            )
        for field in ("scale_bits", "elementwise_bits"):
            if getattr(self, field) not in (16, _FLOAT_BITS):
                raise InvalidInput(f"{field} is {getattr(self, field)!r}; give 16 or 32")


@dataclass(frozen=True, slots=True)
class MicroNetCount:
    """A network's storage and operations.

    Attributes:
        stored_bits: of everything that inference needs.
        multiplies, additions: of one example.
        multiply_bits, addition_bits: the same, each times the width of its wider input.
    """

    stored_bits: int = 0
    multiplies: int = 0
    additions: int = 0
    multiply_bits: int = 0
    addition_bits: int = 0

    def __add__(self, other: "MicroNetCount") -> "MicroNetCount":
        """Return the count of both."""
        return MicroNetCount(
            self.stored_bits + other.stored_bits,
            self.multiplies + other.multiplies,
            self.additions + other.additions,
            self.multiply_bits + other.multiply_bits,
            self.addition_bits + other.addition_bits,
        )

    @property
    def parameters(self) -> float:
        """Storage in units of 32 bits."""
        return self.stored_bits / _FLOAT_BITS

    @property
    def operations(self) -> float:
        """Operations in units of 32 bits."""
        return (self.multiply_bits + self.addition_bits) / _FLOAT_BITS

    def score(self, track: Track) -> float:
        """Return storage and operations, each relative to the track's baseline; lower is better.

        Raises:
            InvalidInput: there is no such track.
        """
        parameters, operations = baseline(track)
        return self.parameters / parameters + self.operations / operations


def micronet_count(
    graph: LayerGraph,
    widths: Sequence[int],
    bits: Mapping[str, LayerBits] | None = None,
    elementwise: Iterable[ElementwiseUse] | None = None,
    rules: MicroNetRules | None = None,
) -> MicroNetCount:
    """Count a compressed network by the challenge's rules.

    A normalisation that alone follows a convolution is folded into it: into a bias for float
    weights, into a scale and a bias for each output of quantised ones. Others are a scale and a
    bias of their own. A codebook is there for each output, 32 bits for each of its values, which
    multiply as the floats that they are; one scale for a layer is stored once and multiplies
    every output.

    Args:
        graph: of the uncut network.
        widths: how many channels each group keeps.
        bits: of convolutions and linear layers by name; those left out stay float and whole.
        elementwise: operations of the uncut network without weights; None takes the graph's.
        rules: what the entrant chose; the defaults score at 32 bits throughout.

    Raises:
        InvalidInput: `bits` names a layer that the graph does not have.

    Source: the challenge's "Scoring and submission" page; counts per layer as in its official
    counting code.
    """
    rules, bits = rules or MicroNetRules(), bits or {}
    layers = weight_layers(graph, widths, bits)
    total = MicroNetCount()
    for layer in layers:
        if layer.weights:
            total += _products(layer, rules)
        if layer.weights or rules.counts_separate_norms:
            total += _scale_and_bias(layer, rules)
    uses = graph.elementwise if elementwise is None else elementwise
    total += _elementwise(graph, widths, uses, rules)
    if rules.takes_freebie and not any(layer.bits.is_quantised for layer in layers):
        return _with_freebie(total)
    return total


def _products(layer: WeightLayer, rules: MicroNetRules) -> MicroNetCount:
    """Count the weights of a convolution or linear layer, and the sums of their products."""
    kept, chosen = layer.nonzero, layer.bits
    mask_bits = layer.weights if kept < layer.weights else 0
    short, longer = divmod(kept, layer.outputs)  # terms of an output, and how many have one more
    additions = max(short - 1, 0) * (layer.outputs - longer) + short * longer
    accumulator: Accumulator = rules.accumulator if _has_integers(chosen) else "fp32"
    codebooks = layer.outputs * 2**chosen.weight_bits if chosen.has_codebooks else 0
    addition_bits = sum(
        count * accumulation_bits(terms, chosen.product_bits, accumulator)
        for terms, count in ((short, layer.outputs - longer), (short + 1, longer))
    )
    return MicroNetCount(
        stored_bits=kept * chosen.weight_bits + mask_bits + codebooks * _FLOAT_BITS,
        multiplies=kept * layer.positions,
        additions=additions * layer.positions,
        multiply_bits=kept * layer.positions * _multiply_bits(chosen),
        addition_bits=addition_bits * layer.positions,
    )


def _has_integers(chosen: LayerBits) -> bool:
    """Say whether a layer multiplies integers; the values of a codebook are floats."""
    widest = max(chosen.weight_bits, chosen.activation_bits)
    return widest < _FLOAT_BITS and not chosen.has_codebooks


def _multiply_bits(chosen: LayerBits) -> int:
    if chosen.has_codebooks:
        return _FLOAT_BITS
    if chosen.weight_bits == 1 and chosen.activation_bits == _FLOAT_BITS:
        return 1  # plus or minus one flips the sign bit of a float
    return max(chosen.weight_bits, chosen.activation_bits)


def _scale_and_bias(layer: WeightLayer, rules: MicroNetRules) -> MicroNetCount:
    width = rules.scale_bits if layer.bits.is_quantised else _FLOAT_BITS
    scales, biases = layer.outputs * layer.has_scale, layer.outputs * layer.has_bias
    stored = min(scales, 1) if layer.bits.weight_scales == "tensor" else scales
    # A scale of quantised activations: one value, and no operation where it is folded.
    activation_scales = int(layer.bits.activation_bits < _FLOAT_BITS and layer.weights > 0)
    return MicroNetCount(
        stored_bits=(stored + biases + activation_scales) * width,
        multiplies=scales * layer.positions,
        additions=biases * layer.positions,
        multiply_bits=scales * layer.positions * width,
        addition_bits=biases * layer.positions * width,
    )


def _elementwise(
    graph: LayerGraph,
    widths: Sequence[int],
    uses: Iterable[ElementwiseUse],
    rules: MicroNetRules,
) -> MicroNetCount:
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    multiplies = additions = 0
    for use in uses:
        kept, full = 1, 1
        if use.layer:
            outputs = tensors[graph.layer(use.layer).weight].axes[0]
            kept, full = outputs.size(widths), outputs.size(graph.full_widths)
        multiplies += use.multiplies * kept // full
        additions += use.additions * kept // full
    width = rules.elementwise_bits
    return MicroNetCount(0, multiplies, additions, multiplies * width, additions * width)


def _with_freebie(count: MicroNetCount) -> MicroNetCount:
    return MicroNetCount(
        count.stored_bits // 2,
        count.multiplies,
        count.additions,
        count.multiply_bits // 2,
        count.addition_bits,
    )
