"""MixNet-S, MicroNet's winning network for large images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape
from automl_compress.networks.zoo.initialise import initialise

_STEM_CHANNELS = 16
_LAST_CHANNELS = 1536


@dataclass(frozen=True)
class _Stage:
    """Blocks of one width.

    kernels: of the depthwise convolution, one for each part of the channels.
    expansion: hidden channels for each input channel. expand_groups, project_groups: parts that
        the 1x1 convolutions before and behind keep apart.
    squeeze: channels of the squeeze-excitation for each input channel, 0 for none; blocks that
        have one activate by swish, the others by ReLU.
    """

    channels: int
    blocks: int
    stride: int
    kernels: tuple[int, ...]
    expansion: int
    expand_groups: int = 1
    project_groups: int = 1
    squeeze: float = 0.0


# Tan and Le, BMVC 2019, figure 4 and the table of its appendix.
_STAGES = (
    _Stage(16, 1, 1, (3,), 1),
    _Stage(24, 1, 2, (3,), 6, 2, 2),
    _Stage(24, 1, 1, (3,), 3, 2, 2),
    _Stage(40, 1, 2, (3, 5, 7), 6, 1, 1, 0.5),
    _Stage(40, 3, 1, (3, 5), 6, 2, 2, 0.5),
    _Stage(80, 1, 2, (3, 5, 7), 6, 1, 2, 0.25),
    _Stage(80, 2, 1, (3, 5), 6, 1, 2, 0.25),
    _Stage(120, 1, 1, (3, 5, 7), 6, 2, 2, 0.5),
    _Stage(120, 2, 1, (3, 5, 7, 9), 3, 2, 2, 0.5),
    _Stage(200, 1, 2, (3, 5, 7, 9, 11), 6, 1, 1, 0.5),
    _Stage(200, 2, 1, (3, 5, 7, 9), 6, 1, 2, 0.5),
)


@dataclass(frozen=True)
class MixnetConfig(ImageConfig):
    """MixNet-S for ImageNet unless set otherwise."""

    minimum_size: ClassVar[int] = 32

    num_classes: int = 1000
    image_size: int = 224


class MixedDepthwise(nn.Module):
    """Depthwise convolutions of several kernel sizes, each on its part of the channels.

    Source: Tan and Le, BMVC 2019, "MixConv", section 3; the first part takes what is left over.
    """

    def __init__(self, channels: int, kernels: tuple[int, ...], stride: int) -> None:
        super().__init__()
        widths = [channels // len(kernels)] * len(kernels)
        widths[0] += channels - sum(widths)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)
            for width, kernel in zip(widths, kernels, strict=True)
        )
        self.widths = widths

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, channels, ceil(H/stride), ceil(W/stride))."""
        if len(self.widths) == 1:
            return self.convolutions[0](x)
        parts = torch.split(x, self.widths, 1)
        convolved = zip(self.convolutions, parts, strict=True)
        return torch.cat([convolution(part) for convolution, part in convolved], 1)


class SqueezeExcitation(nn.Module):
    """Scales each channel by what all channels say on average.

    Source: Hu et al., CVPR 2018, "Squeeze-and-Excitation Networks", section 3, with swish.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        squeezed = F.silu(self.reduce(F.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.expand(squeezed))


class MixedBlock(nn.Module):
    """Expansion, mixed depthwise convolution, projection; a shortcut where shapes allow."""

    def __init__(self, in_channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        activation = nn.SiLU if stage.squeeze else nn.ReLU
        layers: list[nn.Module] = []
        if stage.expansion != 1:
            layers += _pointwise(in_channels, hidden, stage.expand_groups)
            layers.append(activation())
        layers += [MixedDepthwise(hidden, stage.kernels, stride), nn.BatchNorm2d(hidden)]
        layers.append(activation())
        if stage.squeeze:
            layers.append(SqueezeExcitation(hidden, int(in_channels * stage.squeeze)))
        layers += _pointwise(hidden, stage.channels, stage.project_groups)
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, ceil(H/stride), ceil(W/stride))."""
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


class MixnetS(nn.Module):
    """16 mixed blocks; 4.1 M parameters and 256 M MACs at 224x224 with 1,000 classes.

    Where the paper splits a 1x1 convolution into two, each on half of the channels, it is one
    convolution of two groups here: the same function and the same counts. Channels that kernels
    of several sizes share out cannot be cut; the widths between the blocks can.

    Source: Tan and Le, BMVC 2019, "MixConv: Mixed Depthwise Convolutional Kernels", section 4.
    """

    def __init__(self, config: MixnetConfig) -> None:
        super().__init__()
        stem = nn.Conv2d(config.in_channels, _STEM_CHANNELS, 3, 2, padding=1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(_STEM_CHANNELS), nn.ReLU()]
        channels = _STEM_CHANNELS
        for stage in _STAGES:
            for block in range(stage.blocks):
                layers.append(MixedBlock(channels, stage, stage.stride if block == 0 else 1))
                channels = stage.channels
        layers += [*_pointwise(channels, _LAST_CHANNELS, 1), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(_LAST_CHANNELS, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


def _pointwise(in_channels: int, out_channels: int, groups: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 1, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels)]


MIXNET_S = Architecture("mixnet-s", MixnetConfig, MixnetS, image_shape, MixnetConfig.minimum_size)
