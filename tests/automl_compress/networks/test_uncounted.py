"""What a network multiplies outside of its layers is named, with its share."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from automl_compress.core import Obstacle
from automl_compress.networks.trace import trace
from automl_compress.networks.watching import MacCounter
from tests.automl_compress.networks import zoo


class Between(nn.Module):
    """Something between a convolution of 9 * 3 * 8 * 64 MACs and a linear layer of 8 * 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.last = nn.Linear(8, 4)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x)).mean((2, 3)))


LAYERS = 9 * 3 * 8 * 64 + 8 * 4


class FunctionalConvolution(Between):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 8, 3, 3))

    def between(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel, padding=1)


class Product(Between):
    def between(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        return (tokens @ tokens.transpose(1, 2) @ tokens).view_as(x)


class FusedAttention(Between):
    def between(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        mixed = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return mixed[:, 0].transpose(1, 2).reshape(x.shape)


class AttentionModule(Between):
    """Its projections are parameters; in evaluation it runs as one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def between(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return mixed.transpose(1, 2).reshape(x.shape)


def missing(module: nn.Module) -> list[Obstacle]:
    graph = trace(module, (3, 8, 8)).graph
    return [each for each in graph.obstacles if not each.layers]


@pytest.mark.parametrize(
    ("module", "macs", "operators"),
    [
        (FunctionalConvolution(), 9 * 8 * 8 * 64, "convolution"),
        (Product(), 2 * 8 * 8 * 64, "bmm"),
        (FusedAttention(), 2 * 64 * 64 * 8, "bmm"),
        (AttentionModule(), 4 * 8 * 8 * 64 + 2 * 64 * 64 * 8, "addmm, bmm, mm"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else None,
)
def test_what_no_layer_multiplies_is_named(module: nn.Module, macs: int, operators: str) -> None:
    [found] = missing(module)

    assert set(found.operator.split(", ")) <= set(operators.split(", "))
    assert found.reason.startswith(f"{macs:,} of {LAYERS + macs:,} multiply-accumulates")


@pytest.mark.parametrize("module", [Product(), FusedAttention(), AttentionModule()])
def test_the_count_is_that_of_torch(module: nn.Module) -> None:
    check_against_torch(module.eval(), ["first", "last"], (1, 3, 8, 8))


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2", "lenet-5"])
def test_the_count_is_that_of_torch_in_the_zoo(name: str) -> None:
    network = zoo.traced(name)
    layers = [layer.name for layer in network.graph.layers]
    check_against_torch(network.module, layers, (1, *network.graph.input_shape))


def check_against_torch(module: nn.Module, layers: list[str], shape: tuple[int, ...]) -> None:
    theirs, ours = FlopCounterMode(display=False), MacCounter()
    images = torch.randn(*shape)
    with torch.no_grad():
        with theirs:
            module(images)
        with ours.following([module.get_submodule(name) for name in layers]), ours:
            module(images)

    counts = theirs.get_flop_counts()
    root = type(module).__name__
    assert ours.everywhere.total() * 2 == theirs.get_total_flops() > 0
    assert ours.in_layers.total() * 2 == sum(
        sum(counts.get(f"{root}.{name}", {}).values()) for name in layers
    )


def test_a_network_is_traced_without_torch_s_compiler() -> None:
    program = (
        "import sys\n"
        "from automl_compress.networks.architectures import build_network\n"
        "from automl_compress.networks.trace import trace\n"
        "trace(build_network('lenet-5', {'image_size': 16}), (1, 16, 16))\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_attention_runs_as_before_afterwards() -> None:
    missing(AttentionModule())

    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2", "squeezenet", "lenet-5"])
def test_of_the_zoo_everything_is_counted(name: str) -> None:
    assert all(each.layers for each in zoo.traced(name).graph.obstacles)


def test_less_than_a_hundredth_is_not_worth_a_word() -> None:
    class Gate(Between):
        def between(self, x: Tensor) -> Tensor:
            gate = x.mean((2, 3)) @ torch.ones(8, 8)  # 64 MACs
            return x * gate[:, :, None, None]

    assert missing(Gate()) == []
