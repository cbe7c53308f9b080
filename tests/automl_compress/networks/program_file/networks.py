"""Networks that the library has never seen, and the programs that their owners would export."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.networks.architectures import build_network


def program_of(module: nn.Module, shape: tuple[int, ...], *, any_batch: bool = True) -> bytes:
    """Export as the documentation of torch says, with a source line for every node."""
    batch: dict[str, Any] = {}
    if any_batch:
        batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    program = torch.export.export(module, (torch.zeros(2, *shape),), **batch)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def grey_program() -> bytes:
    """A network for the digits, with one group of channels to cut, for whole jobs."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU()),
        *(torch.nn.Conv2d(16, 32, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)),
        *(torch.nn.Flatten(), torch.nn.Linear(32, 10)),
    )
    return program_of(network.eval(), (1, 8, 8))


def settled(module: nn.Module) -> nn.Module:
    """Give the norms statistics that are not those of their first moment."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0.0, 0.2, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


class DenseBlocks(nn.Module):
    """DenseNet-BC in small: bottlenecks whose outputs are concatenated, and transitions."""

    def __init__(self, growth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList()
        channels = 2 * growth
        for _ in range(2):
            block = nn.ModuleList()
            for _ in range(3):
                block.append(self._layer(channels, growth))
                channels += growth
            self.blocks.append(block)
            self.blocks.append(nn.Conv2d(channels, channels // 2, 1, bias=False))
            channels //= 2
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, 10)

    @staticmethod
    def _layer(inputs: int, growth: int) -> nn.Module:
        return nn.Sequential(
            *(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.Conv2d(inputs, 4 * growth, 1)),
            *(nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            if isinstance(block, nn.ModuleList):
                for layer in block:
                    x = torch.cat((x, layer(x)), 1)
            else:
                x = F.avg_pool2d(block(x), 2)
        return self.classifier(F.relu(self.norm(x)).mean((2, 3)))


class SqueezeExcite(nn.Module):
    """Gates written with `view(b, c)`, whose numbers export writes down."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, bias=False), nn.BatchNorm2d(channels))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            *(nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels), nn.Sigmoid())
        )
        self.last = nn.Conv2d(channels, 8, 3)
        self.classifier = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        b, c, _, _ = x.shape
        weights = self.gate(self.pool(x).view(b, c)).view(b, c, 1, 1)
        x = self.last(x * weights.expand_as(x))
        return self.classifier(self.pool(F.relu(x)).flatten(1))


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            *(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1)),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=0.0)
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, n, width))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """A small ViT with a class token and learned positions."""

    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.ModuleList(Block(width, 2) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Signals(nn.Module):
    """One dimension, as for sound: strides, a grouped convolution, a norm of groups."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv1d(2, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8), nn.LeakyReLU(0.1)),
            *(nn.Conv1d(8, 12, 3, padding="same", bias=False), nn.BatchNorm1d(12), nn.SiLU()),
            *(nn.MaxPool1d(2), nn.Conv1d(12, 6, 3, dilation=2), nn.ELU(), nn.AvgPool1d(2)),
        )
        self.classifier = nn.Linear(6 * 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x).flatten(1))


class GreyStrips(nn.Module):
    """One channel, images that are no squares, a flattened map, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, (3, 5), padding=(1, 2))
        self.second = nn.Conv2d(6, 8, 3, stride=(1, 2), bias=False)
        self.norm = nn.BatchNorm2d(8, momentum=0.3, eps=1e-3)
        self.drop = nn.Dropout(0.2)
        self.hidden = nn.Linear(8 * 2 * 4, 14)
        self.classifier = nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.relu6(self.norm(self.second(x)))
        x = self.drop(x.view(x.size(0), -1))
        return self.classifier(F.relu(self.hidden(x)))


class InvertedResiduals(nn.Module):
    """Depthwise pairs around a sum, with the in-place activations that people write."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = self._normalised(3, 8, 3)
        self.expand, self.depthwise = self._normalised(8, 24, 1), self._normalised(24, 24, 3, 24)
        self.project = nn.Sequential(nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 10))

    @staticmethod
    def _normalised(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        return self.classifier(F.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))


@dataclass(frozen=True)
class Golden:
    """A network, the shape of one image, and how many groups can be cut."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    groups: int


GOLDEN = {
    "ResNet-20": Golden(lambda: build_network("resnet-20", {"image_size": 8}), (3, 8, 8), 12),
    "MobileNetV2": Golden(
        lambda: build_network("mobilenet-v2", {"image_size": 8, "width_multiplier": 0.25}),
        (3, 8, 8),
        23,
    ),
    "DenseNet-BC": Golden(DenseBlocks, (3, 16, 16), 15),
    "squeeze and excite": Golden(SqueezeExcite, (3, 9, 9), 3),
    "Vision Transformer": Golden(VisionTransformer, (3, 16, 16), 2),
    "one dimension": Golden(Signals, (2, 40), 3),
    "grey strips": Golden(GreyStrips, (1, 8, 18), 3),
    "inverted residuals": Golden(InvertedResiduals, (3, 8, 8), 2),
}
