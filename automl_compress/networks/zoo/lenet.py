"""LeNet-300-100 and LeNet-5, the smallest networks that pruning papers report."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import Architecture
from automl_compress.networks.zoo.config import ImageConfig, image_shape
from automl_compress.networks.zoo.initialise import initialise


@dataclass(frozen=True)
class LenetConfig(ImageConfig):
    """A LeNet; its first linear layer is as wide as the image, so the size is part of it."""

    minimum_size: ClassVar[int] = 16
    maximum_size: ClassVar[int] = 128

    in_channels: int = 1
    image_size: int = 28


class Lenet300100(nn.Module):
    """Two hidden layers of 300 and 100 units: 266,610 parameters on 28x28 grey images.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition",
    section III.C.5; ReLU in place of tanh, as in Han et al. 2015, section 4.1.
    """

    def __init__(self, config: LenetConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.in_channels * config.image_size**2, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class Lenet5(nn.Module):
    """20 and 50 filters of 5x5, 500 units: 431,080 parameters on 28x28 grey images.

    Source: LeNet-5 as Caffe ships it (examples/mnist/lenet.prototxt), which is what pruning
    papers mean by the name: the only ReLU is behind the 500 units, the max pools do the rest.
    """

    def __init__(self, config: LenetConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(config.in_channels, 20, kernel_size=5)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        last_size = ((config.image_size - 4) // 2 - 4) // 2
        self.fc1 = nn.Linear(50 * last_size**2, 500)
        self.fc2 = nn.Linear(500, config.num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, num_classes)."""
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(x)


LENET_300_100 = Architecture(
    "lenet-300-100", LenetConfig, Lenet300100, image_shape, LenetConfig.minimum_size
)
LENET_5 = Architecture("lenet-5", LenetConfig, Lenet5, image_shape, LenetConfig.minimum_size)
