"""Small networks, one for each way in which channels can hang together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.shortcut import ZeroPadShortcut


def convolution(
    inputs: int, outputs: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=bias)


def normalised(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        convolution(inputs, outputs, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Classifier(nn.Module):
    """A body, an average over the image, a linear layer of 4 classes."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body = body
        self.linear = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.body(x).flatten(2).mean(2))


class Residual(nn.Module):
    """A block of two convolutions beside a shortcut: identity, projection or option A."""

    def __init__(self, shortcut: str, groups: int = 1) -> None:
        super().__init__()
        widens = shortcut != "identity"
        outputs, stride = (12, 2) if widens else (8, 1)
        self.stem = normalised(3, 8)
        self.first = normalised(8, outputs, stride, groups)
        self.second = normalised(outputs, outputs, groups=groups)
        self.shortcut: nn.Module = nn.Identity()
        if shortcut == "projection":
            self.shortcut = nn.Conv2d(8, outputs, 1, stride)
        elif shortcut == "option A":
            self.shortcut = ZeroPadShortcut(8, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class Concatenation(nn.Module):
    """Two branches side by side, and then these beside the stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 4)
        self.left = normalised(4, 6)
        self.right = normalised(4, 5)
        self.norm = nn.BatchNorm2d(15)
        self.last = normalised(15, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inner = torch.cat([self.left(x), self.right(x)], 1)
        return self.last(F.relu(self.norm(torch.cat([x, inner], 1))))


class Flattened(nn.Module):
    """Convolutions, then linear layers on every position of the map."""

    def __init__(self, height: int, width: int, channels: int = 3) -> None:
        super().__init__()
        self.convolution = convolution(channels, 6, stride=2, bias=True)
        self.hidden = nn.Linear(6 * (height // 2) * (width // 2), 10)
        self.linear = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.convolution(x)).flatten(1)
        return self.linear(F.relu(self.hidden(x)))


class SqueezeExcite(nn.Module):
    """A gate on the channels, computed from their averages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.reduce = nn.Conv2d(8, 4, 1)
        self.expand = nn.Conv2d(4, 8, 1)
        self.last = normalised(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))
        return self.last(x * torch.sigmoid(self.expand(gate)))


class UsedTwice(nn.Module):
    """One convolution with its norm, applied again to what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.shared = convolution(8, 8)
        self.norm = nn.BatchNorm2d(8)
        self.last = normalised(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.norm(self.shared(x)))
        x = F.relu(self.norm(self.shared(x)))
        return self.last(x)


class Halves(nn.Module):
    """Splits its channels in two; the halves are multiplied, or go separate ways."""

    def __init__(self, how: str, is_gated: bool) -> None:
        super().__init__()
        self.how, self.is_gated = how, is_gated
        self.stem = normalised(3, 8)
        self.wide = convolution(8, 12, bias=True)
        self.first = normalised(6, 5)
        self.second = normalised(6, 5)
        self.last = normalised(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(self.stem(x))
        if self.how == "chunk":
            left, right = x.chunk(2, 1)
        elif self.how == "split":
            left, right = x.split(6, 1)
        else:
            left, right = x[:, :6], x[:, 6:]
        if self.is_gated:
            return self.last(self.first(left * torch.sigmoid(right)))
        return self.last(self.first(left) + self.second(right))


class HardCodedView(nn.Module):
    """A view that names a channel count, between layers that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.viewed = normalised(8, 6)
        self.next = normalised(6, 7)
        self.last = normalised(7, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.viewed(self.stem(x))
        x = x.view(x.shape[0], 6, -1).view(x.shape)  # names six channels
        return self.last(self.next(x))


class ForwardPadding(nn.Module):
    """Option A written with `F.pad` in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.first = normalised(8, 10, 2)
        self.second = normalised(10, 12)
        self.last = normalised(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.last(F.relu(self.second(self.first(x)) + shortcut))


class DataDependent(nn.Module):
    """Which branch runs depends on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.other = normalised(8, 8)
        self.last = normalised(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if float(x.mean()) > -1.0:  # always, but only the images tell
            x = self.other(x)
        return self.last(x)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.first = nn.Linear(8, 4)
        self.second = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x).mean((2, 3))
        return self.first(x), self.second(x)


class SpatialGate(nn.Module):
    """A map of one channel multiplies all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.gate = nn.Conv2d(8, 1, 1)
        self.last = normalised(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.last(x * torch.sigmoid(self.gate(x)))


class Shuffle(nn.Module):
    """Channel shuffle (ShuffleNet) between grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.first = normalised(8, 8, groups=2)
        self.second = normalised(8, 8, groups=2)
        self.last = normalised(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return self.last(self.second(x.reshape(batch, channels, height, width)))


class ScaledBranch(nn.Module):
    """A learned scale for each channel, and a sum with a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normalised(3, 8)
        self.branch = convolution(8, 8, bias=True)
        self.scale = nn.Parameter(torch.rand(1, 8, 1, 1) + 0.5)
        self.last = normalised(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.last(F.relu(torch.add(x, self.branch(x) * self.scale, alpha=0.5)))


class CalledByName(nn.Module):
    """Layers that get their input as a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = convolution(3, 5), nn.BatchNorm2d(5)
        self.next = convolution(5, 8)
        self.raised = nn.ConvTranspose2d(8, 8, 2, 2)
        self.last = convolution(8, 6, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(input=self.norm(input=self.stem(input=x)))
        x = self.raised(input=self.next(input=x))
        return self.last(input=F.relu(input=x))


class Tokens(nn.Module):
    """Linear layers on each element of a sequence, and a norm over its places."""

    def __init__(self, has_norm: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 12), nn.Linear(12, 6)
        self.norm = nn.BatchNorm1d(6) if has_norm else nn.Identity()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.second(F.relu(self.first(x))))
        return self.linear(x.mean(1))


def one_dimensional() -> nn.Module:
    return Classifier(
        nn.Sequential(
            nn.Conv1d(2, 6, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Conv1d(6, 8, 3, dilation=2),
            nn.ReLU(),
            nn.Conv1d(8, 8, 3, padding=1, groups=8),
            nn.Conv1d(8, 5, 1),
        ),
        5,
    )


def depthwise_pair() -> nn.Module:
    return Classifier(
        nn.Sequential(normalised(3, 8), normalised(8, 8, groups=8), nn.Conv2d(8, 6, 1)), 6
    )


def depthwise_multiplier() -> nn.Module:
    body = nn.Sequential(normalised(3, 8), normalised(8, 16, groups=8), normalised(16, 6))
    return Classifier(body, 6)


def grouped(groups: int) -> nn.Module:
    body = nn.Sequential(normalised(3, 8), normalised(8, 16, groups=groups), normalised(16, 6))
    return Classifier(body, 6)


def rectified_by_parameters() -> nn.Module:
    body = nn.Sequential(convolution(3, 8, bias=True), nn.PReLU(8), normalised(8, 6), nn.PReLU())
    return Classifier(body, 6)


def between(layer: nn.Module, channels: int = 8) -> nn.Module:
    """Return a network with this layer of 8 channels in its middle."""
    body = nn.Sequential(normalised(3, 5), convolution(5, 8), layer, normalised(channels, 6))
    return Classifier(body, 6)
