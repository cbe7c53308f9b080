"""The challenge's networks on the meta device: shapes to count, no weights to store."""

from itertools import pairwise

import torch
from torch import nn

from automl_compress.core import LayerGraph
from automl_compress.networks.architectures import build_network
from automl_compress.networks.describe import describe, record_uses
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.zoo.config import ImageConfig
from automl_compress.networks.zoo.densenet import DensenetBc100


def counted(module: nn.Module, input_shape: tuple[int, ...]) -> LayerGraph:
    """Describe a network without groups; a convolution feeds the norm that runs right after it."""
    with torch.device("meta"):
        uses = record_uses(module.eval(), input_shape)
    follows = [
        (first, second)
        for first, second in pairwise(uses)
        if isinstance(module.get_submodule(first), nn.Conv2d)
        and isinstance(module.get_submodule(second), nn.BatchNorm2d)
        and module.get_submodule(first).out_channels == module.get_submodule(second).num_features
    ]
    return describe(
        module, ChannelPlan((), {}, {}), [], follows, uses, (), input_shape, fingerprint=""
    )


def wide_resnet() -> tuple[nn.Module, LayerGraph]:
    """CIFAR-100's baseline."""
    with torch.device("meta"):
        module = build_network("wide-resnet-28-10", {"num_classes": 100})
    return module, counted(module, (3, 32, 32))


def mobilenet_v2_14() -> tuple[nn.Module, LayerGraph]:
    """ImageNet's baseline."""
    with torch.device("meta"):
        module = build_network("mobilenet-v2-1.4")
    return module, counted(module, (3, 224, 224))


def mixnet_s() -> tuple[nn.Module, LayerGraph]:
    """ImageNet's winner."""
    with torch.device("meta"):
        module = build_network("mixnet-s")
    return module, counted(module, (3, 224, 224))


def densenet_bc_100() -> tuple[nn.Module, LayerGraph]:
    with torch.device("meta"):
        module = DensenetBc100(ImageConfig(num_classes=100))
    return module, counted(module, (3, 32, 32))
