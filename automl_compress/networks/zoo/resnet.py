"""ResNet-20, 32, 44 and 56: the residual networks for 32x32 images."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.shortcut import ZeroPadShortcut
from automl_compress.networks.zoo.config import ImageConfig, image_shape
from automl_compress.networks.zoo.initialise import initialise

STAGE_WIDTHS = (16, 32, 64)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ZeroPadShortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H/stride), ceil(W/stride))."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class Resnet(nn.Module):
    """A stem and three stages of residual blocks, 16, 32 and 64 channels wide.

    State dicts carry the keys of the published checkpoints of these networks: `conv1`, `bn1`,
    `layer{1,2,3}.{i}.{conv,bn}{1,2}`, `linear`.

    Source: He et al. 2016, "Deep Residual Learning", section 4.2, with option-A shortcuts.
    """

    def __init__(self, config: ImageConfig, *, blocks_per_stage: int) -> None:
        super().__init__()
        first, second, third = STAGE_WIDTHS
        self.conv1 = nn.Conv2d(config.in_channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, 1, blocks_per_stage)
        self.layer2 = _stage(first, second, 2, blocks_per_stage)
        self.layer3 = _stage(second, third, 2, blocks_per_stage)
        self.linear = nn.Linear(third, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        return self.linear(x)


def _stage(in_channels: int, out_channels: int, stride: int, blocks: int) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride)
    rest = (ResidualBlock(out_channels, out_channels, 1) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


def _resnet(depth: int) -> Architecture:
    # depth = 6n + 2: two convolutions in each of 3n blocks, the stem, the linear layer.
    build = partial(Resnet, blocks_per_stage=(depth - 2) // 6)
    return Architecture(
        f"resnet-{depth}", ImageConfig, build, image_shape, ImageConfig.minimum_size
    )


RESNET_20, RESNET_32, RESNET_44, RESNET_56 = map(_resnet, (20, 32, 44, 56))
