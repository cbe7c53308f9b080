"""Quantisers of weights that a policy may name, and the bits and scales that each gives."""

from collections.abc import Collection, Mapping
from typing import Literal, get_args

from automl_compress.core.errors import UnknownName

#: channel: a scale for each output channel of a layer. tensor: one for the layer.
WeightScales = Literal["channel", "tensor"]

FLOAT_BITS = 32  # untouched
BIT_WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 16, FLOAT_BITS)
SHARING = "kmeans"  # the quantiser whose channels have a codebook each
_SCALED = (1, 2, 3, 4, 5, 6, 7, 8, 16)  # one bit is a sign and a scale
_SHARED = (2, 3, 4, 5, 6, 7, 8)

#: What each takes, beside 32 bits, which leave weights as they are. They need nothing but the
#: weights, as a policy carries no data.
QUANTISER_BITS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("scan", "uniform", "mse", "max", "percentile", "kl"), _SCALED),
    SHARING: _SHARED,
    "binary": (1,),
    "ternary": (2,),
    "power_of_two": (2, 3, 4, 5, 6, 7),
}
_OF_INPUTS = {
    "bit_split": "chooses codes by what reaches the layer, which a policy does not carry; take "
    "'uniform', which it equals without that, or call it in Python with "
    "moments=input_moments(...)"
}


def codebook_bits(bits: int) -> int:
    """Return what the codebook of one channel takes, in bits, for codes of `bits` bits."""
    return FLOAT_BITS * 2**bits if bits in _SHARED else 0


def obstacle(
    quantiser: str, weight_bits: Collection[int], scales: WeightScales = "channel"
) -> str | None:
    """Say why a quantiser cannot give weights one of these bits; None where it can give all.

    Args:
        quantiser: its name.
        weight_bits: of BIT_WIDTHS.
        scales: which it shall have.

    Raises:
        UnknownName: no quantiser has this name.
    """
    if quantiser in _OF_INPUTS:
        return f"the quantiser {quantiser!r} {_OF_INPUTS[quantiser]}"
    if quantiser not in QUANTISER_BITS:
        raise UnknownName("quantiser", quantiser, QUANTISER_BITS)
    able = QUANTISER_BITS[quantiser]
    unable = [bits for bits in weight_bits if bits not in (*able, FLOAT_BITS)]
    if not unable:
        return _obstacle_of_scales(quantiser, weight_bits, scales)
    given = "1 bit" if able == (1,) else f"{', '.join(map(str, able))} bits"
    others = [name for name, allowed in QUANTISER_BITS.items() if unable[0] in allowed]
    return (
        f"the quantiser {quantiser!r} gives weights {given}, not "
        f"{', '.join(map(str, unable))}; 32 leaves them float; {unable[0]} bits are given by: "
        f"{', '.join(others)}"
    )


def _obstacle_of_scales(
    quantiser: str, weight_bits: Collection[int], scales: WeightScales
) -> str | None:
    if scales not in get_args(WeightScales):
        return f"weight_scales is {scales!r}; choose one of: {', '.join(get_args(WeightScales))}"
    if scales == "channel" or set(weight_bits) <= {FLOAT_BITS}:
        return None
    if quantiser == SHARING:
        return (
            f"the quantiser {quantiser!r} gives each output channel a codebook, which no scale of "
            "the tensor replaces; set weight_scales to 'channel', or take another quantiser"
        )
    if 1 in weight_bits:
        return (
            "one bit is a sign and a scale for each output channel (quantiser 'binary'), not one "
            "for the tensor; set weight_scales to 'channel', or give 2 bits or more"
        )
    return None
