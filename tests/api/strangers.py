"""Networks of somebody else, each written for its tests and known to nothing in the library.

Widths are arguments, as of any class that can also be built smaller: each is the number of
outputs of the layer of that name.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Branches(nn.Module):
    """Concatenates a wide and a narrow branch, and what they came from."""

    input_shape = (3, 12, 10)

    def __init__(self, stem: int = 8, wide: int = 6, narrow: int = 4, merged: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, padding=1)
        self.wide = nn.Conv2d(stem, wide, 3, padding=1, bias=False)
        self.wide_norm = nn.BatchNorm2d(wide)
        self.narrow = nn.Conv2d(stem, narrow, 1)
        self.merged = nn.Conv2d(stem + wide + narrow, merged, 3, stride=2)
        self.classifier = nn.Linear(merged, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        x = torch.cat((x, F.relu(self.wide_norm(self.wide(x))), self.narrow(x)), dim=1)
        return self.classifier(F.relu(self.merged(x)).mean((2, 3)))


class Separable(nn.Module):
    """Depthwise and pointwise pairs around a sum, with a gate for each channel."""

    input_shape = (3, 11, 11)

    def __init__(self, stem: int = 8, expand: int = 16, squeeze: int = 4, deep: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, stride=2, bias=False)
        self.expand = nn.Conv2d(stem, expand, 1, bias=False)
        self.deep = nn.Conv2d(expand, deep, 3, padding=1, groups=deep, bias=False)
        self.norm = nn.BatchNorm2d(deep)
        self.squeeze = nn.Linear(deep, squeeze)
        self.excite = nn.Linear(squeeze, deep)
        self.project = nn.Conv2d(deep, stem, 1)
        self.classifier = nn.Linear(stem, 4)

    def forward(self, images: Tensor) -> Tensor:
        shortcut = F.hardswish(self.stem(images))
        x = F.relu6(self.norm(self.deep(F.relu6(self.expand(shortcut)))))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        x = shortcut + self.project(x * gate[:, :, None, None])
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Pulses(nn.Module):
    """One dimension: two channels of a sensor."""

    input_shape = (2, 40)

    def __init__(self, first: int = 8, second: int = 12, third: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, first, 5, stride=2, padding=2)
        self.first_norm = nn.BatchNorm1d(first)
        self.second = nn.Conv1d(first, second, 3, padding="same", bias=False)
        self.second_norm = nn.BatchNorm1d(second)
        self.third = nn.Conv1d(second, third, 3, dilation=2)
        self.classifier = nn.Linear(3 * third, 4)

    def forward(self, signals: Tensor) -> Tensor:
        x = F.leaky_relu(self.first_norm(self.first(signals)), 0.1)
        x = F.max_pool1d(F.silu(self.second_norm(self.second(x))), 2)
        return self.classifier(F.avg_pool1d(F.elu(self.third(x)), 2).flatten(1))


class TwoHeads(nn.Module):
    """Attention of two heads over the places of a map, and two classifiers that are added."""

    input_shape = (3, 12, 12)
    width = 12

    def __init__(self, first: int = 10, hidden: int = 32, deep: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, first, 3, stride=2)
        self.patches = nn.Conv2d(first, self.width, 2, stride=2)
        self.norm = nn.LayerNorm(self.width)
        self.mixed = nn.Linear(self.width, 3 * self.width)
        self.hidden = nn.Linear(self.width, hidden)
        self.shrunk = nn.Linear(hidden, self.width)
        self.deep = nn.Linear(self.width, deep)
        self.mean_head = nn.Linear(self.width, 4)
        self.deep_head = nn.Linear(deep, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(F.gelu(self.first(images))).flatten(2).transpose(1, 2)
        count, places, width = x.shape
        parts = self.mixed(self.norm(x)).reshape(count, places, 3, 2, width // 2)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value)
        x = x + seen.transpose(1, 2).reshape(count, places, width)
        x = (x + self.shrunk(F.gelu(self.hidden(x)))).mean(1)
        return self.mean_head(x) + self.deep_head(F.relu(self.deep(x)))


class GreyStrips(nn.Module):
    """One channel, no squares, a map that is flattened, dropout."""

    input_shape = (1, 8, 18)

    def __init__(self, first: int = 6, second: int = 8, hidden: int = 14) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, first, (3, 5), padding=(1, 2))
        self.second = nn.Conv2d(first, second, 3, stride=(1, 2), bias=False)
        self.norm = nn.BatchNorm2d(second)
        self.drop = nn.Dropout(0.2)
        self.hidden = nn.Linear(8 * second, hidden)
        self.classifier = nn.Linear(hidden, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(images)), 2)
        x = self.drop(F.relu6(self.norm(self.second(x))).flatten(1))
        return self.classifier(F.relu(self.hidden(x)))


class TwoOutputs(nn.Module):
    """Two heads of their own, which it returns both: the second is of other classes, and deeper."""

    input_shape = (3, 10, 12)

    def __init__(self, first: int = 8, second: int = 12, hidden: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, first, 3, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.second = nn.Conv2d(first, second, 3, stride=2)
        self.classifier = nn.Linear(second, 4)
        self.hidden = nn.Linear(second, hidden)
        self.other = nn.Linear(hidden, 5)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.second(F.relu(self.norm(self.first(images))))).mean((2, 3))
        return {"main": self.classifier(x), "other": self.other(F.relu(self.hidden(x)))}


STRANGERS = {
    each.__name__: each for each in (Branches, Separable, Pulses, TwoHeads, TwoOutputs, GreyStrips)
}
