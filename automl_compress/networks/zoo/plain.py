"""Plain-20: ResNet-20 without its shortcuts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape
from automl_compress.networks.zoo.initialise import initialise
from automl_compress.networks.zoo.resnet import STAGE_WIDTHS

_LAYERS_PER_STAGE = 6


class Plain20(nn.Module):
    """19 convolutions of 3x3 in a row and a linear layer; as many parameters as ResNet-20.

    Source: He et al. 2016, "Deep Residual Learning", section 4.2 ("plain" networks); AMC
    (He et al. 2018, section 4.1) compresses this one.
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        layers = _convolution(config.in_channels, STAGE_WIDTHS[0], 1)
        in_channels = STAGE_WIDTHS[0]
        for width in STAGE_WIDTHS:
            for _ in range(_LAYERS_PER_STAGE):
                # The first layer of a wider stage halves the image.
                layers += _convolution(in_channels, width, 1 if in_channels == width else 2)
                in_channels = width
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(in_channels, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.linear(torch.flatten(x, 1))


def _convolution(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


PLAIN_20 = Architecture("plain-20", ImageConfig, Plain20, image_shape, ImageConfig.minimum_size)
