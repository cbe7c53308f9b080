import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from automl_compress.core.errors import PolicyInvalid
from automl_compress.core.execution import Execution, ExecutionChange, LayerExecution
from automl_compress.core.json_field import JsonField
from automl_compress.evaluate.execution import (
    layer_executions,
    nonzero_macs,
    peak_activation_bytes,
)
from automl_compress.networks.trace import trace
from tests.automl_compress.networks import topologies as made


class Residual(nn.Module):
    """One channel of 4x4 in; two of 4x4 inside; a sum; a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 2, 3, padding=1)
        self.same = nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Linear(32, 3)

    def forward(self, images: Tensor) -> Tensor:
        shortcut = self.wide(images)
        return self.last((shortcut + self.same(shortcut)).flatten(1))


def test_the_peak_is_where_a_shortcut_waits() -> None:
    # The image, whose caller waits for it; then shortcut, branch and their sum.
    image, channel_pair = 16, 32
    assert peak_activation_bytes(Residual().eval(), torch.ones(1, 1, 4, 4)) == 4 * (
        image + 3 * channel_pair
    )


def test_what_works_in_place_holds_nothing_more() -> None:
    def network(*, is_inplace: bool) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(is_inplace)).eval()

    plain, in_place = (
        peak_activation_bytes(network(is_inplace=each), torch.ones(1, 1, 4, 4))
        for each in (False, True)
    )
    assert (plain, in_place) == (4 * (16 + 32 + 32), 4 * (16 + 32))


def by_hand(layer: Any, image: Tensor) -> int:
    """Multiply every pair of a weight and what it meets, one after the other."""
    padding, stride, dilation = layer.padding[0], layer.stride[0], layer.dilation[0]
    padded = nn.functional.pad(image, [padding] * 4)
    outputs = layer(image[None])[0]
    each = layer.in_channels // layer.groups
    count = 0
    for filter_, row, column in itertools.product(*map(range, outputs.shape)):
        first = filter_ // (layer.out_channels // layer.groups) * each
        for channel, down, right in itertools.product(*map(range, layer.weight[0].shape)):
            met = padded[first + channel, row * stride + down * dilation, :]
            factors = met[column * stride + right * dilation], layer.weight[filter_, channel, down]
            count += bool(factors[0] != 0 and factors[1][right] != 0)
    return count


@given(
    groups=st.sampled_from([1, 2]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_multiplications_by_zero_are_left_out(
    groups: int, stride: int, padding: int, dilation: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(
        2, 2, 2, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=False
    )
    with torch.no_grad():
        layer.weight.mul_(torch.rand(layer.weight.shape, generator=generator) < 0.6)
    image = torch.randn(2, 4, 5, generator=generator).relu()

    assert nonzero_macs(layer, image[None]) == by_hand(layer, image)


def test_counts_are_those_of_one_image() -> None:
    module = Residual().eval()
    graph = trace(module, (1, 4, 4)).graph

    found = layer_executions(module, graph, {"same"}, torch.ones(5, 1, 4, 4))

    told = [(each.name, each.compute, each.macs, each.weight_bytes) for each in found]
    assert told == [
        ("wide", "float32", 16 * 2 * 9, 4 * 18),
        ("same", "int8", 16 * 2 * 18, 36),
        ("last", "float32", 3 * 32, 4 * 96),
    ]
    moved = [each.activation_bytes for each in found]
    assert moved == [4 * (16 + 32), 32 + 32, 4 * (32 + 3)]
    # Of 16 places and 9 taps the border meets 44 padded zeros.
    assert found[0].nonzero_macs == 2 * (16 * 9 - 44)


def test_layers_that_are_called_by_name_count_too() -> None:
    module = made.Classifier(made.CalledByName(), 6).eval()
    graph = trace(module, (3, 8, 8)).graph

    found = layer_executions(module, graph, set(), torch.ones(2, 3, 8, 8))

    assert [each.name for each in found] == ["body.stem", "body.next", "body.last", "linear"]
    assert [each.macs for each in found] == [64 * 5 * 27, 64 * 8 * 45, 256 * 6 * 72, 4 * 6]


def layer(macs: int, weight_bytes: int, compute: Any = "float32") -> LayerExecution:
    return LayerExecution("fc", compute, macs, macs, weight_bytes, 0)


def test_a_layer_of_few_multiplications_waits_for_memory() -> None:
    assert layer(500, 100).bound == "compute"
    assert layer(499, 100).bound == "memory"
    assert layer(500, 100, "int8").bound == "memory"


def test_the_bottleneck_is_where_most_time_goes_by() -> None:
    linear, convolution = layer(100, 400), layer(1999, 1)
    run = Execution(64, (linear, convolution))

    assert run.memory_share == pytest.approx(2000 / 3999)
    assert run.bottleneck == "memory"
    assert Execution(64, (linear, layer(2001, 1))).bottleneck == "compute"
    assert Execution(64, ()).bottleneck == "compute"


def test_energy_is_arithmetic_and_traffic() -> None:
    run = Execution(0, (LayerExecution("fc", "int8", 1000, 0, 10, 20),))

    assert run.energy_nanojoules == pytest.approx((1000 * 0.3 + 10 * 160 + 20 * 1.25) / 1000)


def test_what_is_written_is_read() -> None:
    run = Execution(64, (layer(100, 400), layer(7, 1, "int8")))
    change = ExecutionChange(run, Execution(0, ()))

    assert ExecutionChange.read(JsonField(change.to_json())) == change


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("macs", -1, "/before/layers/0/macs: .* give an integer of at least 0"),
        ("compute", "int4", "choose one of: float32, int8"),
        ("weight_bytes", None, "give an integer"),
    ],
)
def test_what_cannot_be_is_refused(field: str, value: Any, says: str) -> None:
    content = ExecutionChange(Execution(0, (layer(1, 1),)), Execution(0, ())).to_json()
    content["before"]["layers"][0][field] = value

    with pytest.raises(PolicyInvalid, match=says):
        ExecutionChange.read(JsonField(content))
