"""Wide residual networks for 32x32 images; WideResNet-28-10 is MicroNet's CIFAR-100 baseline."""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape, require_integer
from automl_compress.networks.zoo.initialise import initialise

_STEM_WIDTH = 16


@dataclass(frozen=True)
class WideResnetConfig(ImageConfig):
    """A wide residual network.

    Attributes:
        widening_factor: width of the stages in units of 16, 32 and 64 channels; 1 to 20.
    """

    widening_factor: int = 10

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for the first field that is out of range."""
        super().__post_init__()
        require_integer("widening_factor", self.widening_factor, 1, 20)


class WideBlock(nn.Module):
    """Normalise, activate, convolve, twice; a 1x1 convolution where the shape changes.

    Source: Zagoruyko and Komodakis, BMVC 2016, figure 1 c, without dropout.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H/stride), ceil(W/stride))."""
        activated = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return out + (x if self.shortcut is None else self.shortcut(activated))


class WideResnet(nn.Module):
    """A stem, three stages of wide blocks, a norm and a linear layer.

    36.5 M parameters and 5.2 G MACs with 28 layers, factor 10 and 100 classes.

    Source: Zagoruyko and Komodakis, BMVC 2016, "Wide Residual Networks", table 1.
    """

    def __init__(self, config: WideResnetConfig, *, blocks_per_stage: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(config.in_channels, _STEM_WIDTH, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        channels = _STEM_WIDTH
        for stage in range(3):
            width = _STEM_WIDTH * 2**stage * config.widening_factor
            for block in range(blocks_per_stage):
                blocks.append(WideBlock(channels, width, 2 if stage and not block else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.relu(self.bn(self.blocks(self.conv1(x))))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


# depth = 6n + 4: two convolutions in each of 3n blocks, the stem, and as many 1x1 ones as stages.
WIDE_RESNET_28_10 = Architecture(
    "wide-resnet-28-10",
    WideResnetConfig,
    partial(WideResnet, blocks_per_stage=4),
    image_shape,
    WideResnetConfig.minimum_size,
)
