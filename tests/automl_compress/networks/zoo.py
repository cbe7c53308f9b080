"""Every network of the zoo, settled and traced, once for all tests of a process."""

from functools import cache

import torch

from automl_compress.networks.architectures import architecture, architecture_names
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks.counting import settled

NAMES = architecture_names()
# Narrower, where the published width would only cost time.
_NARROW = {
    "wide-resnet-28-10": {"widening_factor": 1},
    "mixnet-s": {"num_classes": 10},
    "mobilenet-v2-1.4": {"width_multiplier": 0.5, "num_classes": 10},
}


@cache
def traced(name: str) -> Network:
    """Return the network on images as small as it takes, at least 16 pixels wide."""
    chosen = architecture(name)
    size = max(16, chosen.minimum_size)
    config = chosen.configure({"image_size": size, **_NARROW.get(name, {})})
    torch.manual_seed(0)
    return trace(
        settled(chosen.build(config), chosen.input_shape(config)), chosen.input_shape(config)
    )
