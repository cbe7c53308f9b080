"""Calibration, second moments, and networks that compute as if quantised."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from automl_compress.compress.fake_quantisation import fake_quantised, input_grids
from automl_compress.compress.layer_inputs import input_moments, input_samples
from automl_compress.compress.quantisers import Grid, create_quantiser
from automl_compress.core.errors import DataInvalid, InvalidInput
from tests.automl_compress.networks import zoo


def small() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(16, 5),
    ).eval()


def images(batches: int = 2, size: int = 8) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(10, 3, size, size, generator=generator), torch.zeros(10).long())
        for _ in range(batches)
    ]


# --------------------------------------------------------------------------- calibration


def test_samples_hold_the_extremes_and_stay_few() -> None:
    module, batches = small(), images()

    found = input_samples(module, ["0", "2"], batches, samples=50)

    everything = torch.cat([each for each, _ in batches])
    assert found["0"].min() == everything.min()
    assert found["0"].max() == everything.max()
    assert len(found["0"]) <= 2 * 52
    assert bool((found["2"] >= 0).all())  # behind a ReLU


def test_samples_without_a_limit_are_all_inputs() -> None:
    module, batches = small(), images(1)

    found = input_samples(module, ["4"], batches, samples=10**6)["4"]

    with torch.no_grad():
        inputs = module[:4](batches[0][0]).reshape(-1)
    assert torch.equal(found[: len(inputs)], inputs)


def test_inputs_behind_a_relu_get_unsigned_codes() -> None:
    samples = input_samples(small(), ["0", "2", "4"], images())

    grids = input_grids(samples, {"0": 8, "2": 4, "4": 32})

    assert set(grids) == {"0", "2"}
    assert (grids["0"].lowest, grids["0"].highest) == (-127, 127)
    assert (grids["2"].lowest, grids["2"].highest) == (0, 15)


def test_grids_at_other_bits_are_fitted_anew() -> None:
    samples = {"0": torch.linspace(0, 1, 1001)}

    coarse, fine = (input_grids(samples, {"0": bits}, "max")["0"] for bits in (2, 8))

    assert float(coarse.values) == pytest.approx(1 / 3)
    assert float(fine.values) == pytest.approx(1 / 255)


def test_moments_give_the_response_error_of_a_convolution() -> None:
    module, batches = small(), images()
    moments = input_moments(module, ["0", "2", "4"], batches)

    for name, layer in (("0", module[0]), ("2", module[2]), ("4", module[4])):
        inputs: list[Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, x, kept=inputs: kept.append(x[0]))
        with torch.no_grad():
            for each, _ in batches:
                module(each)
        hook.remove()
        changed = create_quantiser("max").fit(layer.weight, 3, 0).dequantise()
        plain = _without_bias(layer, layer.weight.detach())
        rounded = _without_bias(layer, changed)
        expected = sum(float((plain(x) - rounded(x)).double().square().sum()) for x in inputs)
        lost = (layer.weight.detach() - changed).double()
        lost = lost.reshape(len(moments[name]), -1, moments[name].shape[-1])
        found = float(((lost @ moments[name]) * lost).sum())
        assert found == pytest.approx(expected, rel=1e-4)


def _without_bias(layer: nn.Module, weight: Tensor) -> Callable[[Tensor], Tensor]:
    if isinstance(layer, nn.Linear):
        return lambda x: nn.functional.linear(x, weight)
    assert isinstance(layer, nn.Conv2d)
    return lambda x: nn.functional.conv2d(
        x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
    )


def test_bit_split_with_measured_moments_beats_nearest_codes() -> None:
    network, batches = zoo.traced("resnet-20"), images(2, 16)
    layer = [each.name for each in network.graph.layers if each.kind == "convolution"][3]
    moments = input_moments(network.module, [layer], batches)[layer]
    weight = network.module.get_parameter(f"{layer}.weight").detach()

    split = create_quantiser("bit_split", moments=moments).fit(weight, 3, 0).dequantise()
    nearest = create_quantiser("uniform").fit(weight, 3, 0).dequantise()

    def response(values: Tensor) -> float:
        lost = (weight - values).flatten(1).double()
        return float(((lost @ moments[0]) * lost).sum())

    assert response(split) < 0.8 * response(nearest)


# ---------------------------------------------------------------------- fake quantisation


def quantised_weights(module: nn.Module, bits: int) -> dict[str, Tensor]:
    return {
        name: create_quantiser("uniform").fit(each, bits, 0).dequantise()
        for name, each in module.named_parameters()
        if each.ndim > 1
    }


def test_it_computes_what_rounded_weights_and_inputs_compute() -> None:
    module, (batch, *_) = small(), images()
    grids = input_grids(input_samples(module, ["0", "2", "4"], images()), {"0": 8, "2": 4, "4": 6})
    weights = quantised_weights(module, 4)

    with fake_quantised(module, weights, grids), torch.no_grad():
        found = module(batch[0])

    by_hand = small()
    by_hand.load_state_dict({**module.state_dict(), **weights})
    x = batch[0]
    with torch.no_grad():
        for name, layer in by_hand.named_children():
            x = grids[name].decode(grids[name].encode(x)) if name in grids else x
            x = layer(x)
    assert torch.allclose(found, x, atol=1e-5)


def test_everything_is_as_before_afterwards() -> None:
    module, (batch, *_) = small(), images()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    places = {name: each.data_ptr() for name, each in module.named_parameters()}
    with torch.no_grad():
        expected = module(batch[0])
    grids = input_grids(input_samples(module, ["0"], images()), {"0": 2})

    def fail() -> Iterator[None]:
        with fake_quantised(module, quantised_weights(module, 2), grids):
            assert not torch.equal(module(batch[0]), expected)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    with torch.no_grad():
        assert torch.equal(module(batch[0]), expected)
    assert all(torch.equal(before[name], each) for name, each in module.state_dict().items())
    assert places == {name: each.data_ptr() for name, each in module.named_parameters()}


def test_gradients_pass_straight_through_where_nothing_is_clipped() -> None:
    layer = nn.Linear(4, 1, bias=False)
    grid = Grid("linear", 4, torch.full((1, 1), 0.1))
    x = torch.tensor([[0.03, -0.5, 0.69, 3.0]], requires_grad=True)

    with fake_quantised(layer, {}, {"": grid}):
        layer(x).sum().backward()

    assert x.grad is not None
    assert torch.equal(x.grad[0, :3], layer.weight.detach()[0, :3])
    assert x.grad[0, 3] == 0  # beyond 0.7, where the grid ends


def test_both_ways_to_round_agree() -> None:
    layer, x = nn.Identity(), torch.randn(1000, generator=torch.Generator().manual_seed(8))
    grid = Grid("linear", 4, torch.full((1, 1), 0.25), is_signed=False)

    with fake_quantised(layer, {}, {"": grid}):
        training = layer(x.clone().requires_grad_())
        inference = layer(x)

    assert torch.equal(training, inference)
    assert torch.equal(inference, grid.decode(grid.encode(x)))


def test_eight_bits_keep_the_logits_of_a_network() -> None:
    network, batches = zoo.traced("resnet-20"), images(2, 16)
    names = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    samples = input_samples(network.module, names, batches)
    weights = quantised_weights(network.module, 8)
    (batch, _), *_ = batches

    with torch.no_grad():
        expected = network.module(batch)
        with fake_quantised(network.module, weights, input_grids(samples, dict.fromkeys(names, 8))):
            fine = network.module(batch)
        with fake_quantised(network.module, weights, input_grids(samples, dict.fromkeys(names, 2))):
            coarse = network.module(batch)

    spread = expected.std()
    assert (fine - expected).square().mean().sqrt() < 0.1 * spread
    assert (coarse - expected).square().mean() > (fine - expected).square().mean()


# ------------------------------------------------------------------------------ bad input


def test_calibration_images_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"shape \(10, 1, 8, 8\)"):
        input_samples(small(), ["0"], [(torch.randn(10, 1, 8, 8), torch.zeros(10).long())])


def test_no_calibration_images_are_refused() -> None:
    with pytest.raises(DataInvalid, match="one batch"):
        input_samples(small(), ["0"], [])


@pytest.mark.parametrize("collect", [input_samples, input_moments])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_are_refused(collect, bad: float) -> None:
    (batch, labels), *_ = images()
    batch[0, 0, 0, 0] = bad

    with pytest.raises(DataInvalid, match="reaches 0"):
        collect(small(), ["0"], [(batch, labels)])


def test_inputs_that_are_always_zero_are_quantised_to_zero() -> None:
    batches = [(torch.zeros(4, 3, 8, 8), torch.zeros(4).long())]

    (grid,) = input_grids(input_samples(small(), ["0"], batches), {"0": 4}).values()

    assert torch.equal(grid.decode(grid.encode(torch.zeros(3))), torch.zeros(3))


@pytest.mark.parametrize("name", ["9", "conv"])
def test_layers_that_are_not_there_are_refused(name: str) -> None:
    module = small()
    grid = Grid("linear", 4, torch.ones(1, 1))

    with pytest.raises(InvalidInput, match=name):
        input_samples(module, [name], images())
    with pytest.raises(InvalidInput, match=name), fake_quantised(module, {}, {name: grid}):
        pass
    with pytest.raises(InvalidInput, match=name):
        input_grids({}, {name: 4})
    weights = {f"{name}.weight": torch.zeros(1)}
    with pytest.raises(InvalidInput, match=name), fake_quantised(module, weights, {}):
        pass


def test_weights_of_another_shape_and_grids_of_another_form_are_refused() -> None:
    module = small()
    codebook = {"0": Grid("codebook", 1, torch.zeros(1, 2))}

    with (
        pytest.raises(InvalidInput, match="shape"),
        fake_quantised(module, {"0.weight": torch.zeros(3)}, {}),
    ):
        pass
    with pytest.raises(InvalidInput, match="codebook"), fake_quantised(module, {}, codebook):
        pass


def test_a_layer_without_listable_patches_is_refused() -> None:
    module = nn.Sequential(nn.Conv1d(1, 1, 2))

    with pytest.raises(InvalidInput, match="Conv1d"):
        input_moments(module, ["0"], [(torch.zeros(1, 1, 5), torch.zeros(1))])
