"""Layers that become sparse and quantised: their weights, and whole networks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from automl_compress.compress.layer_weights import compressed_weights, sparsified
from automl_compress.compress.quantised_network import (
    input_grid,
    quantisation_rows,
    quantise_network,
)
from automl_compress.compress.quantisers import Grid, create_quantiser, quantiser_names
from automl_compress.core import BIT_WIDTHS, LayerChoice
from automl_compress.core.errors import DataInvalid
from automl_compress.core.weight_grids import QUANTISER_BITS
from automl_compress.costs.layer_bits import folded_norms
from tests.automl_compress.networks import zoo
from tests.automl_compress.networks.counting import relative_difference, settled

shapes = st.sampled_from([(4, 9), (8, 3, 3, 3), (6, 1, 3, 3), (5, 40)])
seeds = st.integers(0, 2**32 - 1)


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("entries", "form"), [(129, "codebook"), (128, "linear")])
def test_codebooks_give_way_to_a_scale_where_they_would_not_pay(entries: int, form: str) -> None:
    weight = drawn((4, entries), 0)

    found = compressed_weights(weight, LayerChoice("a", 0.0, 2, quantiser="kmeans"))

    assert found.quantised is not None
    assert found.quantised.grid.form == form


def test_a_layer_smaller_than_its_codebook_is_quantised_all_the_same() -> None:
    found = compressed_weights(
        drawn((16, 1, 3, 3), 0), LayerChoice("a", 0.0, 8, quantiser="kmeans")
    )

    assert found.quantised is not None
    assert found.quantised.grid.form == "linear"


@settings(deadline=None, max_examples=60)
@given(shapes, seeds, st.sampled_from(BIT_WIDTHS), st.floats(0, 0.95))
def test_weights_are_on_their_grid_and_as_sparse_as_asked(
    shape: tuple[int, ...], seed: int, bits: int, sparsity: float
) -> None:
    weight, sparsity = drawn(shape, seed), 0.0 if bits == 1 else sparsity

    found = compressed_weights(weight, LayerChoice("a", sparsity, bits))

    assert int((found.values == 0).sum()) >= round(sparsity * weight.numel())
    if bits == 32:
        assert found.quantised is None
        kept = found.values != 0
        assert torch.equal(found.values[kept], weight[kept])
    else:
        assert found.quantised is not None
        assert torch.equal(found.quantised.dequantise(), found.values)
        row = found.values.flatten(1)[0]
        assert len(row.unique()) <= 2**bits


@settings(deadline=None, max_examples=30)
@given(shapes, seeds, st.sampled_from(BIT_WIDTHS[:-1]))
def test_scaling_a_channel_scales_its_grid(shape: tuple[int, ...], seed: int, bits: int) -> None:
    # What lets a norm be folded in before or after. Powers of two scale without rounding.
    weight = drawn(shape, seed)
    scale = 2.0 ** torch.arange(-1, shape[0] - 1).view(-1, *[1] * (len(shape) - 1))
    choice = LayerChoice("a", weight_bits=bits)

    plain, scaled = (compressed_weights(each, choice) for each in (weight, weight * scale))

    assert plain.quantised is not None
    assert scaled.quantised is not None
    assert torch.equal(plain.quantised.codes, scaled.quantised.codes)
    assert torch.equal(plain.values * scale, scaled.values)


@pytest.mark.parametrize("name", QUANTISER_BITS)
def test_every_quantiser_serves_the_bits_that_a_policy_may_ask_of_it(name: str) -> None:
    weight = drawn((2, 8200), 0)  # enough for a codebook of 256
    lost = []
    for bits in QUANTISER_BITS[name]:
        found = compressed_weights(weight, LayerChoice("a", 0.0, bits, quantiser=name)).quantised
        assert found is not None
        assert found.grid.bits == bits
        own = "binary" if bits == 1 else name
        expected = create_quantiser(own).fit(weight, bits, 0)
        assert torch.equal(found.codes, expected.codes)
        assert torch.equal(found.grid.values, expected.grid.values)
        lost.append(float((found.dequantise() - weight).square().mean()))

    assert max(lost) < float(weight.square().mean())
    assert lost[-1] == min(lost)


def test_policies_name_the_bits_that_quantisers_have() -> None:
    for name, bits in QUANTISER_BITS.items():
        own = create_quantiser(name).bit_widths
        # One bit is a sign and a scale, whatever finds the scale; two shared values are no sign.
        assert set(bits) - {1} == set(own) - {1}
        assert (1 in bits) == (1 in own or 16 in own) or name == "kmeans"
    # What needs the layer's inputs is no choice of a policy.
    assert set(quantiser_names()) - set(QUANTISER_BITS) == {"bit_split"}


def test_the_smallest_weights_go_first() -> None:
    weight = torch.tensor([[0.1, -3.0], [0.2, 0.0]])

    assert torch.equal(sparsified(weight, 0.5), torch.tensor([[0.0, -3.0], [0.2, 0.0]]))
    assert torch.equal(sparsified(weight, 0.0), weight)


@pytest.mark.parametrize("bad", [torch.zeros(0, 3), torch.tensor([[float("nan")]])])
def test_empty_or_infinite_weights_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(DataInvalid, match="empty or holds NaN"):
        compressed_weights(bad, LayerChoice("a", 0.5, 4))


@pytest.mark.parametrize("name", ["lenet-5", "resnet-20", "mobilenet-v2", "densenet-bc-100"])
def test_costs_fold_the_norms_that_networks_fold(name: str) -> None:
    network = zoo.traced(name)

    assert folded_norms(network.graph) == network.plan.norm_after


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2", "squeezenet"])
def test_norms_fold_without_changing_the_network(name: str, rng: np.random.Generator) -> None:
    network = zoo.traced(name)
    module, norms = settled(network.module, network.graph.input_shape), network.plan.norm_after
    layers = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    # 16 bits lose so little that what is left is folding's own rounding.
    choices = {each: LayerChoice(each, weight_bits=16) for each in layers}
    images = torch.randn(4, *network.graph.input_shape)

    quantised = quantise_network(module, choices, norms, {})

    with torch.no_grad():
        assert relative_difference(quantised.module(images), module(images)) < 2e-3
    assert set(quantised.module.state_dict()) == set(module.state_dict())
    assert {f"{norm}.weight" for norm in norms.values()} <= quantised.neutral
    for each in norms.values():
        norm = quantised.module.get_submodule(each)
        assert bool((norm.weight == 1).all())
        assert bool((norm.running_mean == 0).all())


def test_the_given_network_stays_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    grid = Grid("linear", 4, torch.full((1, 1), 0.5))

    quantised = quantise_network(module, {"0": LayerChoice("0", 0.5, 2, 4)}, {}, {"0": grid})

    assert all(torch.equal(before[name], each) for name, each in module.state_dict().items())
    assert not module[0]._forward_pre_hooks
    assert set(quantised.codes) == {"0.weight"}


@pytest.mark.parametrize(
    "grid",
    [
        Grid("linear", 4, torch.full((1, 1), 0.1)),
        Grid("linear", 1, torch.full((1, 1), 0.1), None, is_signed=False),
        Grid("sign", 1, torch.full((1, 1), 0.3)),
    ],
)
def test_grids_survive_being_written_down(grid: Grid) -> None:
    choices = {"a": LayerChoice("a", activation_bits=grid.bits)}

    row = quantisation_rows(choices, {}, {"a": grid})["a"]

    read = input_grid(row)
    assert read is not None
    assert (read.form, read.bits, read.lowest, read.highest) == (
        grid.form,
        grid.bits,
        grid.lowest,
        grid.highest,
    )
    assert torch.equal(read.values, grid.values)
    assert row.folded_norm is None  # the weights stay as they are


def test_a_norm_that_could_not_keep_a_shift_is_not_folded() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)).eval()
    module[1].running_var.uniform_(0.5, 2.0)
    choices = {"0": LayerChoice("0", weight_bits=16)}
    images = torch.randn(2, 3, 8, 8)

    quantised = quantise_network(module, choices, {"0": "1"}, {})

    assert not quantised.folded
    assert not quantised.neutral
    assert quantisation_rows(choices, quantised.folded, {})["0"].folded_norm is None
    with torch.no_grad():
        assert relative_difference(quantised.module(images), module(images)) < 1e-3
