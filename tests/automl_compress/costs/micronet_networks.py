"""The challenge's networks on the meta device: shapes to count, no weights to store."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.core import LayerGraph
from automl_compress.networks.describe import describe, record_uses
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.zoo.config import ImageConfig
from automl_compress.networks.zoo.densenet import DensenetBc100
from automl_compress.networks.zoo.mobilenet import MobilenetConfig, MobilenetV2


class WideBlock(nn.Module):
    """Zagoruyko and Komodakis, BMVC 2016, figure 1 c: normalise, activate, convolve, twice."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        before = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(before))))
        return out + (x if self.shortcut is None else self.shortcut(before))


class WideResnet(nn.Module):
    """Depth 28, factor 10, 100 classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
        channels = 16
        for width, stride in ((160, 1), (320, 2), (640, 2)):
            for block in range(4):
                layers.append(WideBlock(channels, width, stride if block == 0 else 1))
                channels = width
        self.features = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(640)
        self.linear = nn.Linear(640, 100)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(F.relu(self.bn(self.features(x))), 1)
        return self.linear(torch.flatten(x, 1))


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
    with torch.device("meta"):
        module = WideResnet()
    return module, counted(module, (3, 32, 32))


def mobilenet_v2_14() -> tuple[nn.Module, LayerGraph]:
    """As published, for 224x224 images: stem and 24-channel stage with stride 2."""
    with torch.device("meta"):
        module = MobilenetV2(MobilenetConfig(num_classes=1000, width_multiplier=1.4))
    convolutions = [each for each in module.modules() if isinstance(each, nn.Conv2d)]
    convolutions[0].stride = (2, 2)
    next(c for c in convolutions if c.groups > 1 and c.in_channels == 6 * 24).stride = (2, 2)
    return module, counted(module, (3, 224, 224))


def densenet_bc_100() -> tuple[nn.Module, LayerGraph]:
    with torch.device("meta"):
        module = DensenetBc100(ImageConfig(num_classes=100))
    return module, counted(module, (3, 32, 32))
