"""Every quantiser under its contract, and what each one promises of its own."""

import itertools

import pytest
import torch
from torch import Tensor

from automl_compress.compress.quantisers import (
    Grid,
    QuantisedTensor,
    Quantiser,
    create_quantiser,
    quantiser_names,
)
from automl_compress.compress.quantisers.bit_split import bit_planes, stitch
from automl_compress.compress.quantisers.power_of_two import one_hot_integers
from automl_compress.core.errors import DataInvalid, InvalidInput, UnknownName
from tests.contracts.quantiser import QuantiserContract, error, weights


class TestEveryQuantiser(QuantiserContract):
    @pytest.fixture(params=quantiser_names())
    def quantiser(self, request: pytest.FixtureRequest) -> Quantiser:
        return create_quantiser(request.param)


def nearest(tensor: Tensor, values: list[float]) -> Tensor:
    """By brute force."""
    grid = torch.tensor(values, dtype=torch.float64)
    return grid[(tensor.double()[..., None] - grid).abs().argmin(-1)]


# ------------------------------------------------------------------------------ uniform


def test_iterative_scale_by_hand() -> None:
    # Two bits, codes -1, 0, 1: with 1 and 0.8 as ones and 0.1 as zero the best scale is 0.9.
    found = create_quantiser("uniform").fit(torch.tensor([1.0, -0.8, 0.1]), 2)

    assert found.codes.tolist() == [1, -1, 0]
    assert found.grid.values.item() == pytest.approx(0.9)


def test_iterative_scale_is_a_fixed_point() -> None:
    tensor = weights(1, 4000)
    for bits in (2, 3, 4, 6):
        found = create_quantiser("uniform").fit(tensor, bits)
        codes = found.codes.double()
        best = (tensor.double() * codes).sum() / codes.square().sum()
        # Fine grids end before the last digits settle.
        assert found.grid.values.item() == pytest.approx(float(best), rel=2e-3)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("other", ["max", "percentile", "kl", "mse"])
def test_no_other_scale_has_a_clearly_smaller_error_than_the_iterative_one(
    other: str, bits: int
) -> None:
    tensor = weights(8, 16, 5, 5)
    for axis in (None, 0):
        iterative = error(tensor, create_quantiser("uniform").fit(tensor, bits, axis))
        assert iterative <= 1.05 * error(tensor, create_quantiser(other).fit(tensor, bits, axis))


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
@pytest.mark.parametrize("outlier", [0.2, 1.0, 2.0, 5.0])
def test_iterative_scale_is_near_the_best_of_a_fine_grid(outlier: float, bits: int) -> None:
    tensor = weights(1, 10_000)
    tensor[0, 0] = outlier

    found = error(tensor, create_quantiser("uniform").fit(tensor, bits))

    top = 2 ** (bits - 1) - 1
    grids = (
        Grid("linear", bits, torch.full((1, 1), outlier / top * 0.99**step)) for step in range(400)
    )
    errors = [error(tensor, QuantisedTensor(grid.encode(tensor), grid)) for grid in grids]
    assert found <= 1.02 * min(errors)


def test_max_scale_is_round_to_nearest() -> None:
    tensor = weights(1, 500)

    found = create_quantiser("max").fit(tensor, 4)

    largest = float(tensor.abs().max())
    assert found.grid.values.item() == pytest.approx(largest / 7)
    expected = nearest(tensor, [code * largest / 7 for code in range(-7, 8)])
    assert torch.allclose(found.dequantise().double(), expected, rtol=1e-5)


def test_percentile_clips_the_largest_entries() -> None:
    # Of the magnitudes 0.001, 0.002, ..., 1 the 90th percentile is 0.9.
    tensor = torch.arange(1, 1001) / 1000

    found = create_quantiser("percentile", percentile=90).fit(tensor, 8)

    assert found.grid.values.item() == pytest.approx(0.9 / 127)
    assert found.dequantise().max().item() == pytest.approx(0.9)


def test_percentile_of_a_mostly_pruned_tensor_is_not_zero() -> None:
    tensor = torch.zeros(1000)
    tensor[7] = 0.5

    found = create_quantiser("percentile", percentile=99).fit(tensor, 4)

    assert found.dequantise()[7].item() == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["uniform", "mse", "kl"])
def test_an_outlier_is_clipped_at_four_bits(name: str) -> None:
    tensor = weights(1, 20_000)
    tensor[0, 0] = 1.0  # 20 times the spread

    limit = create_quantiser(name).fit(tensor, 4).dequantise().abs().max().item()

    assert limit < 0.5


def test_divergence_keeps_the_whole_range_of_evenly_spread_entries() -> None:
    tensor = torch.linspace(-1, 1, 10_001)

    found = create_quantiser("kl").fit(tensor, 8)

    assert found.dequantise().max().item() > 0.95


@pytest.mark.parametrize("name", ["uniform", "max", "percentile", "mse", "kl"])
def test_unsigned_codes_serve_non_negative_activations(name: str) -> None:
    activations = weights(1, 5000).relu()

    signed = create_quantiser(name).fit(activations, 4)
    unsigned = create_quantiser(name, is_signed=False).fit(activations, 4)

    assert (unsigned.grid.lowest, unsigned.grid.highest) == (0, 15)
    assert int(unsigned.codes.max()) == 15
    assert error(activations, unsigned) < 0.5 * error(activations, signed)


def test_unsigned_codes_make_negative_entries_zero() -> None:
    found = create_quantiser("uniform", is_signed=False).fit(torch.tensor([-1.0, 0.5, 1.0]), 8)

    assert found.dequantise().tolist() == pytest.approx([0.0, 0.5, 1.0], abs=0.003)


# ---------------------------------------------------------------------------- codebooks


def test_codebook_holds_a_tensor_of_few_values_exactly() -> None:
    values = torch.tensor([-0.7, 0.1, 0.11, 3.0])
    tensor = values[torch.randint(4, (500,), generator=torch.Generator().manual_seed(1))]

    found = create_quantiser("kmeans").fit(tensor, 2)

    assert torch.equal(found.dequantise(), tensor)
    assert torch.allclose(found.grid.values[0], values)


def test_codebook_entries_are_the_means_of_their_clusters() -> None:
    tensor = weights(1, 3000)

    found = create_quantiser("kmeans").fit(tensor, 3)

    for code, value in enumerate(found.grid.values[0].tolist()):
        assert float(tensor[found.codes == code].double().mean()) == pytest.approx(value, rel=1e-3)


def test_codebook_of_a_pruned_tensor_has_an_exact_zero() -> None:
    tensor = weights(4, 500)
    tensor[tensor.abs() < 0.05] = 0

    found = create_quantiser("kmeans").fit(tensor, 4, 0)

    assert bool((found.grid.values == 0).any(dim=1).all())
    assert torch.equal(found.dequantise() == 0, tensor == 0)


def test_codebook_larger_than_the_layer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="larger than the 7 entries"):
        create_quantiser("kmeans").fit(torch.randn(3, 7), 3, 0)


# --------------------------------------------------------------------------- few levels


def test_binary_scale_is_optimal() -> None:
    tensor = weights(4, 300)
    found = create_quantiser("binary").fit(tensor, 1, 0)

    for factor in (0.9, 0.99, 1.01, 1.1):
        worse = tensor - factor * found.dequantise()
        assert float(worse.double().square().sum()) > error(tensor, found)


def test_ternary_is_optimal_among_all_thresholds() -> None:
    tensor = weights(1, 12)[0]

    found = create_quantiser("ternary").fit(tensor, 2)

    def loss(codes: tuple[int, ...]) -> float:
        q = torch.tensor(codes).double()
        scale = (tensor.double() * q).sum() / q.square().sum().clamp_min(1)
        return float((tensor.double() - scale * q).square().sum())

    signs = torch.sign(tensor).int().tolist()
    choices = itertools.product([0, 1], repeat=12)
    best = min(loss(tuple(s * c for s, c in zip(signs, kept, strict=True))) for kept in choices)
    assert error(tensor, found) == pytest.approx(best, rel=1e-5)


def test_ternary_with_a_threshold_factor_by_hand() -> None:
    # The mean magnitude is 0.5, the threshold 0.35: 1.0 and -0.6 stay, their mean is 0.8.
    tensor = torch.tensor([1.0, -0.6, 0.3, -0.1])

    found = create_quantiser("ternary", threshold_factor=0.7).fit(tensor, 2)

    assert found.dequantise().tolist() == pytest.approx([0.8, -0.8, 0.0, 0.0])


# -------------------------------------------------------------------------- power of two


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
def test_every_power_of_two_code_has_one_set_bit(bits: int) -> None:
    found = create_quantiser("power_of_two").fit(weights(4, 300), bits, 0)

    integers = one_hot_integers(found.codes)
    scales = found.grid.values.double() * 2.0 ** (1 - found.grid.highest)

    assert {bin(abs(each)).count("1") for each in integers.flatten().tolist()} <= {0, 1}
    assert torch.equal((integers.double() * scales).float(), found.dequantise())


def test_powers_of_two_are_the_nearest_ones() -> None:
    tensor = weights(1, 2000)

    found = create_quantiser("power_of_two").fit(tensor, 4)

    powers = [found.grid.values.item() * 2.0**-k for k in range(7)]
    expected = nearest(tensor, [*(-each for each in powers), 0.0, *powers])
    assert error(tensor, found) == pytest.approx(float((tensor - expected).square().sum()))


# ----------------------------------------------------------------------------- bit split


def correlated_moments(entries: int, groups: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(groups, 400, entries, generator=generator)
    inputs = inputs + 2 * torch.randn(groups, 400, 1, generator=generator)
    return inputs.transpose(1, 2) @ inputs


def response_error(tensor: Tensor, values: Tensor, moments: Tensor) -> Tensor:
    lost = (tensor - values).double().reshape(len(moments), -1, moments.shape[-1])
    return ((lost @ moments.double()) * lost).sum(2).reshape(-1)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_bit_split_loses_against_no_start_in_any_channel(bits: int, groups: int) -> None:
    tensor, moments = weights(8, 27), correlated_moments(27, groups)

    found = create_quantiser("bit_split", moments=moments).fit(tensor, bits, 0)

    ours = response_error(tensor, found.dequantise(), moments)
    for start in ("max", "uniform"):
        other = create_quantiser(start).fit(tensor, bits, 0).dequantise()
        assert bool((ours <= response_error(tensor, other, moments) * (1 + 1e-5)).all())


def test_bit_split_halves_the_response_error_of_correlated_inputs() -> None:
    tensor, moments = weights(8, 27), correlated_moments(27)

    found = create_quantiser("bit_split", moments=moments).fit(tensor, 4, 0)

    nearest_codes = create_quantiser("uniform").fit(tensor, 4, 0)
    ours = response_error(tensor, found.dequantise(), moments).sum()
    assert ours < 0.5 * response_error(tensor, nearest_codes.dequantise(), moments).sum()


def test_bit_split_with_inputs_that_are_always_zero_stays_finite() -> None:
    tensor, moments = weights(4, 9), torch.zeros(9, 9)

    found = create_quantiser("bit_split", moments=moments).fit(tensor, 4, 0)

    assert bool(torch.isfinite(found.dequantise()).all())


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_planes_stitch_to_the_codes(bits: int) -> None:
    codes = torch.arange(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), dtype=torch.int32)

    planes = bit_planes(codes, bits)

    assert planes.shape == (bits - 1, len(codes))
    assert set(planes.unique().tolist()) == {-1, 0, 1}
    assert torch.equal(stitch(planes), codes)


def test_moments_of_another_layer_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"moments have shape \(5, 5\)"):
        create_quantiser("bit_split", moments=torch.eye(5)).fit(weights(4, 9), 4, 0)


# --------------------------------------------------------------------- grids and options


def test_codes_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidInput, match="-7 to 7"):
        Grid("linear", 4, torch.ones(1, 1)).decode(torch.tensor([8]))


def test_nan_has_no_code() -> None:
    with pytest.raises(DataInvalid, match="NaN"):
        Grid("linear", 4, torch.ones(1, 1)).encode(torch.tensor([float("nan")]))


def test_values_that_do_not_fit_the_form_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"give \(1, 16\)"):
        Grid("codebook", 4, torch.ones(1, 1))


def test_a_tensor_with_other_channels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="3 channels at axis 0"):
        Grid("linear", 4, torch.ones(3, 1), axis=0).encode(torch.zeros(4, 2))


def test_unknown_quantiser_is_named() -> None:
    with pytest.raises(UnknownName, match="no quantiser is called 'log'"):
        create_quantiser("log")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("percentile", {"percentile": 0}),
        ("percentile", {"percentile": float("nan")}),
        ("ternary", {"threshold_factor": -1.0}),
        ("binary", {"percentile": 99}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="give"):
        create_quantiser(name, **options)
