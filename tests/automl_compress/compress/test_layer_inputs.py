"""Calibration samples and second moments of what reaches layers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from automl_compress.compress.layer_inputs import input_moments, input_samples
from automl_compress.compress.quantisers import create_quantiser
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


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(InvalidInput, match="conv"):
        input_samples(small(), ["conv"], images())


def test_a_layer_without_listable_patches_is_refused() -> None:
    module = nn.Sequential(nn.Conv1d(1, 1, 2))

    with pytest.raises(InvalidInput, match="Conv1d"):
        input_moments(module, ["0"], [(torch.zeros(1, 1, 5), torch.zeros(1))])
