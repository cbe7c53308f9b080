"""Cost models: what a policy costs, counted without building the network."""

from automl_compress.costs.analytic import AnalyticCosts
from automl_compress.costs.bit_operations import bit_operations
from automl_compress.costs.elementwise import ElementwiseUse, elementwise_uses
from automl_compress.costs.layer_bits import LayerBits
from automl_compress.costs.micronet import MicroNetCount, MicroNetRules, micronet_count

__all__ = [
    "AnalyticCosts",
    "ElementwiseUse",
    "LayerBits",
    "MicroNetCount",
    "MicroNetRules",
    "bit_operations",
    "elementwise_uses",
    "micronet_count",
]
