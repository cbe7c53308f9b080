"""Cost models: what a policy costs, counted without building the network, or loading torch."""

from automl_compress.costs.analytic import AnalyticCosts
from automl_compress.costs.bit_operations import bit_operations
from automl_compress.costs.latency_table import LatencyTable
from automl_compress.costs.layer_bits import LayerBits
from automl_compress.costs.layered import PolicyCosts, SettingCosts, compression_space

__all__ = [
    "AnalyticCosts",
    "LatencyTable",
    "LayerBits",
    "PolicyCosts",
    "SettingCosts",
    "bit_operations",
    "compression_space",
]
