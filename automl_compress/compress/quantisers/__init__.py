"""From floating-point tensors to integer codes, by name."""

from automl_compress.compress.quantisers.catalogue import create_quantiser, quantiser_names
from automl_compress.compress.quantisers.grid import Grid, QuantisedTensor
from automl_compress.compress.quantisers.quantiser import Quantiser

__all__ = ["Grid", "QuantisedTensor", "Quantiser", "create_quantiser", "quantiser_names"]
