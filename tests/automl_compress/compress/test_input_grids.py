"""Grids of layer inputs, and layers that round what reaches them."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from automl_compress.compress.input_grids import (
    InputGrids,
    InputRounding,
    fitted_grid,
    round_inputs,
)
from automl_compress.compress.quantisers import Grid
from automl_compress.core.errors import InvalidInput


def small() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(40, 6, generator=generator), torch.zeros(40).long()) for _ in range(2)]


def step(value: float, bits: int = 4, *, is_signed: bool = True) -> Grid:
    return Grid("linear", bits, torch.full((1, 1), value), None, is_signed)


def test_inputs_behind_a_relu_get_unsigned_codes() -> None:
    grids = InputGrids(small(), ["0", "2"], batches())

    assert (grids.of("0", 8).lowest, grids.of("0", 8).highest) == (-127, 127)
    assert (grids.of("2", 4).lowest, grids.of("2", 4).highest) == (0, 15)
    assert grids.of("2", 4) is grids.of("2", 4)  # fitted once


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8, 16])
@pytest.mark.parametrize("is_signed", [False, True])
def test_more_bits_lose_less(bits: int, is_signed: bool) -> None:
    samples = torch.randn(5000, generator=torch.Generator().manual_seed(2))
    samples = samples if is_signed else samples.clamp_min(0)

    def lost(width: int) -> float:
        grid = fitted_grid(samples, width)
        return float((InputRounding(grid).rounded(samples) - samples).square().mean())

    assert lost(bits) < samples.square().mean()
    assert bits == 1 or lost(bits) < lost(bits - 1 if bits < 16 else 8)


def test_one_bit_of_non_negative_inputs_is_as_good_as_any_scale() -> None:
    samples = torch.rand(2000, generator=torch.Generator().manual_seed(3)).square()

    grid = fitted_grid(samples, 1)

    def lost(scale: float) -> float:
        return float((samples - scale * (samples > scale / 2)).square().sum())

    tried = [lost(scale) for scale in torch.linspace(0.05, 1, 200).tolist()]
    assert lost(float(grid.values)) <= 1.001 * min(tried)


def test_always_zero_stays_zero() -> None:
    for bits in (1, 4, 16):
        assert torch.equal(
            InputRounding(fitted_grid(torch.zeros(9), bits)).rounded(torch.zeros(3)), torch.zeros(3)
        )


@pytest.mark.parametrize(
    "grid", [step(0.25), step(0.25, is_signed=False), Grid("sign", 1, torch.ones(1, 1))]
)
def test_rounding_takes_the_nearest_values(grid: Grid) -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(8))
    rounding = InputRounding(grid)

    assert torch.equal(rounding.rounded(x), grid.decode(grid.encode(x)))
    assert torch.allclose(rounding.rounded(x.clone().requires_grad_()), rounding.rounded(x))


def test_gradients_pass_straight_through_where_nothing_is_clipped() -> None:
    layer = nn.Linear(4, 1, bias=False)
    x = torch.tensor([[0.03, -0.5, 0.69, 3.0]], requires_grad=True)
    round_inputs(layer, {"": step(0.1)})

    layer(x).sum().backward()

    assert x.grad is not None
    assert torch.equal(x.grad[0, :3], layer.weight.detach()[0, :3])
    assert x.grad[0, 3] == 0  # beyond 0.7, where the grid ends


def test_rounding_comes_along_in_copies_and_files_and_can_be_undone() -> None:
    module, (x, _) = small(), batches()[0]
    with torch.no_grad():
        before = module(x)
        undo = round_inputs(module, {"0": step(1.0), "2": step(0.5)})
        rounded = module(x)
        twins = copy.deepcopy(module), pickle.loads(pickle.dumps(module))  # noqa: S301
        for each in undo:
            each()

        assert not torch.equal(rounded, before)
        assert all(torch.equal(twin(x), rounded) for twin in twins)
        assert torch.equal(module(x), before)


def test_exported_programs_round_alike() -> None:
    module, (x, _) = small(), batches()[0]
    round_inputs(module, {"0": step(0.5), "2": step(0.25, is_signed=False)})

    program = torch.export.export(module, (x,)).module()

    with torch.no_grad():
        assert torch.equal(program(x), module(x))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'9'"):
        round_inputs(small(), {"9": step(0.5)})
    with pytest.raises(InvalidInput, match="codebook"):
        round_inputs(small(), {"0": Grid("codebook", 1, torch.zeros(1, 2))})
    with pytest.raises(InvalidInput, match="calibrate it too"):
        InputGrids(small(), ["0"], batches()).of("2", 4)
