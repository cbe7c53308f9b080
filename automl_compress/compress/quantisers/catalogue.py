"""Quantisers by name."""

from collections.abc import Mapping
from typing import Any

from automl_compress.compress.quantisers.bit_split import BitSplit
from automl_compress.compress.quantisers.few_levels import Binary, Ternary
from automl_compress.compress.quantisers.kmeans import KMeans
from automl_compress.compress.quantisers.power_of_two import PowerOfTwo
from automl_compress.compress.quantisers.quantiser import Quantiser
from automl_compress.compress.quantisers.uniform import (
    DivergenceUniform,
    IterativeUniform,
    MaximumUniform,
    MseUniform,
    PercentileUniform,
    ScanUniform,
)
from automl_compress.core.errors import InvalidInput, UnknownName

_QUANTISERS: Mapping[str, type[Quantiser]] = {
    each.name: each
    for each in (
        IterativeUniform,
        MaximumUniform,
        PercentileUniform,
        ScanUniform,
        MseUniform,
        DivergenceUniform,
        KMeans,
        Binary,
        Ternary,
        PowerOfTwo,
        BitSplit,
    )
}


def create_quantiser(name: str, **options: Any) -> Quantiser:
    """Create a quantiser.

    Args:
        name: one of `quantiser_names()`.
        options: the attributes of its class.

    Raises:
        UnknownName: no quantiser has this name.
        InvalidInput: it has no such option, or a value is out of range.
    """
    if name not in _QUANTISERS:
        raise UnknownName("quantiser", name, _QUANTISERS)
    known = getattr(_QUANTISERS[name], "__dataclass_fields__", {})
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InvalidInput(
            f"the quantiser {name!r} has no option {unknown[0]!r}; "
            f"give one of: {', '.join(sorted(known)) or 'none'}"
        )
    return _QUANTISERS[name](**options)


def quantiser_names() -> tuple[str, ...]:
    """Return the names of all quantisers."""
    return tuple(_QUANTISERS)
