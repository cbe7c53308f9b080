"""Least-squares reconstruction against torch's own solver on the same rows."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.compress import reconstruction
from automl_compress.compress.candidate import cut_network
from automl_compress.compress.reconstruction import Reconstruction, sample_patches
from automl_compress.compress.tabulation import Tabulation
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks import topologies
from tests.automl_compress.networks.counting import random_kept, relative_difference, settled

SEED = 3
KEPT = torch.tensor([0, 2, 3, 5])  # of six inputs


class Pair(nn.Module):
    """A layer of six outputs, the layer under test, then an average and a classifier."""

    def __init__(self, first: nn.Module, layer: nn.Module, norm: nn.Module | None) -> None:
        super().__init__()
        self.first, self.layer, self.norm = first, layer, norm or nn.Identity()
        self.linear = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.layer(torch.tanh(self.first(x))))
        return self.linear(x.flatten(2).mean(2) if x.dim() > 2 else x)


def images_of(*shape: int, batches: int = 4) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(9)
    return [
        (torch.randn(64, *shape, generator=generator), torch.zeros(64, dtype=torch.int64))
        for _ in range(batches)
    ]


def pair(layer: nn.Module, norm: nn.Module | None = None) -> tuple[Network, list]:
    """Return a traced network around `layer`, and its calibration batches."""
    shape, first = {
        nn.Linear: ((7,), nn.Linear(7, 6)),
        nn.Conv1d: ((3, 12), nn.Conv1d(3, 6, 3, padding=1)),
        nn.Conv2d: ((3, 8, 9), nn.Conv2d(3, 6, 3, padding=1)),
        nn.Conv3d: ((2, 4, 5, 4), nn.Conv3d(2, 6, 3, padding=1)),
    }[type(layer)]
    network = trace(settled(Pair(first, layer, norm), shape), shape)
    return network, images_of(*shape)


def stored_rows(network: Network, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The rows (R, D) that the layer under test was solved from."""
    layer = network.module.get_submodule("layer")
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        inputs = [torch.tanh(network.module.get_submodule("first")(x)) for x, _ in batches]
        rows = [sample_patches(layer, each, generator) for each in inputs]
    return torch.cat(rows).double()


def flat_weight(weight: Tensor) -> Tensor:
    """(O, I, kernel...) as (kernel positions * I, O)."""
    return (
        weight.detach().double().flatten(2).movedim(1, -1).flatten(1).T
        if (weight.dim() > 2)
        else weight.detach().double().T
    )


def kept_columns(network: Network, kept: Tensor) -> Tensor:
    weight = network.module.get_parameter("layer.weight")
    positions = weight[0, 0].numel()
    return (torch.arange(positions)[:, None] * weight.shape[1] + kept).flatten()


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "3x3": partial(nn.Conv2d, 6, 5, 3),
    "stride and padding": partial(nn.Conv2d, 6, 5, 3, stride=2, padding=1),
    "dilation": partial(nn.Conv2d, 6, 5, 3, dilation=2, padding=2),
    "oblong": partial(nn.Conv2d, 6, 5, (1, 3), stride=(2, 1), padding=(0, 1)),
    "same, even kernel": partial(nn.Conv2d, 6, 5, 2, padding="same"),
    "reflected": partial(nn.Conv2d, 6, 5, 3, padding=1, padding_mode="reflect"),
    "1x1": partial(nn.Conv2d, 6, 5, 1),
    "one dimension": partial(nn.Conv1d, 6, 5, 3, stride=2, padding=1, dilation=2),
    "three dimensions": partial(nn.Conv3d, 6, 5, 2, padding=1),
    "linear": partial(nn.Linear, 6, 5),
}


@pytest.fixture
def undamped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are well conditioned: without damping the solution is the least-squares one."""
    monkeypatch.setattr(reconstruction, "DAMPING", 1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.usefixtures("undamped")
@pytest.mark.parametrize("name", LAYERS)
def test_solution_is_the_least_squares_one(name: str) -> None:
    network, batches = pair(LAYERS[name]())
    solved = Reconstruction(network, batches, SEED).solve("layer", KEPT)

    rows = stored_rows(network, batches)
    targets = rows @ flat_weight(network.module.get_parameter("layer.weight"))
    inputs = rows[:, kept_columns(network, KEPT)]
    # The bias absorbs the means: a least-squares problem with a column of ones.
    ones = torch.ones(len(rows), 1, dtype=torch.float64)
    expected = torch.linalg.lstsq(torch.cat([inputs, ones], 1), targets).solution

    found = solved.weight.flatten(1).T.double()
    torch.testing.assert_close(found, expected[:-1], atol=2e-4, rtol=2e-3)
    assert solved.bias is not None
    bias = network.module.get_parameter("layer.bias").detach().double()
    torch.testing.assert_close(solved.bias.double(), bias + expected[-1], atol=2e-4, rtol=2e-3)


@pytest.mark.usefixtures("undamped")
@pytest.mark.parametrize("layer", [nn.Conv2d(6, 5, 3, bias=False), nn.Linear(6, 5, bias=False)])
def test_without_bias_and_norm_the_means_are_error_too(layer: nn.Module) -> None:
    network, batches = pair(layer)
    solved = Reconstruction(network, batches, SEED).solve("layer", KEPT)

    rows = stored_rows(network, batches)
    targets = rows @ flat_weight(network.module.get_parameter("layer.weight"))
    expected = torch.linalg.lstsq(rows[:, kept_columns(network, KEPT)], targets).solution

    torch.testing.assert_close(solved.weight.flatten(1).T.double(), expected, atol=2e-4, rtol=2e-3)
    assert solved.bias is None


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(
    ("layer", "norm"),
    [
        (partial(nn.Conv2d, 6, 5, 3, padding=1), nn.BatchNorm2d(5)),
        (partial(nn.Conv1d, 6, 5, 3), nn.BatchNorm1d(5)),
        (partial(nn.Linear, 6, 5), nn.BatchNorm1d(5)),
    ],
    ids=["Conv2d", "Conv1d", "Linear"],
)
def test_norm_gets_the_statistics_of_the_new_outputs(
    layer: Callable[..., nn.Module], norm: nn.Module, has_bias: bool
) -> None:
    network, batches = pair(layer(bias=has_bias), norm)
    solved = Reconstruction(network, batches, SEED).solve("layer", KEPT)

    inputs = stored_rows(network, batches)[:, kept_columns(network, KEPT)]
    outputs = inputs @ solved.weight.flatten(1).T.double()
    if has_bias:
        outputs = outputs + network.module.get_parameter("layer.bias").detach()

    assert solved.norm_mean is not None
    assert solved.norm_variance is not None
    torch.testing.assert_close(solved.norm_mean.double(), outputs.mean(0), atol=1e-5, rtol=1e-4)
    measured = outputs.var(0, unbiased=False)
    torch.testing.assert_close(solved.norm_variance.double(), measured, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("undamped")
def test_all_inputs_give_the_same_weights_again() -> None:
    network, batches = pair(nn.Conv2d(6, 5, 3, padding=1))

    solved = Reconstruction(network, batches, SEED).solve("layer", torch.arange(6))

    weight = network.module.get_parameter("layer.weight").detach()
    found = solved.weight.view(5, 3, 3, 6).movedim(-1, 1)
    torch.testing.assert_close(found, weight, atol=2e-4, rtol=2e-3)


def test_uncut_network_is_the_original_one() -> None:
    network, batches = pair(nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5))
    kept = [torch.arange(channels) for channels in network.plan.channels]

    same = cut_network(network, kept, Reconstruction(network, batches))

    images = batches[0][0]
    with torch.no_grad():
        assert torch.equal(same(images), network.module(images))


def test_reconstruction_repairs_a_redundant_channel() -> None:
    # The second channel is twice the first: without it nothing need be lost.
    network, batches = pair(nn.Conv2d(6, 5, 3, padding=1))
    first = network.module.get_submodule("first")
    with torch.no_grad():
        first.get_parameter("weight")[1] = first.get_parameter("weight")[0]
        first.get_parameter("bias")[1] = first.get_parameter("bias")[0]
    kept = [torch.tensor([0, 2, 3, 4, 5]), torch.arange(5)]
    images = batches[0][0]

    with torch.no_grad():
        expected = network.module(images)
        plain = cut_network(network, kept)(images)
        repaired = cut_network(network, kept, Reconstruction(network, batches))(images)

    assert relative_difference(plain, expected) > 0.05
    assert relative_difference(repaired, expected) < 0.005


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 2, 3),
        nn.Conv2d(4, 2, 3, stride=2, padding=1),
        nn.Conv2d(4, 2, (2, 3), dilation=(1, 2), padding=(0, 2)),
        nn.Conv2d(4, 2, 1, stride=2),
    ],
    ids=lambda layer: layer.extra_repr(),
)
def test_patches_are_the_columns_of_unfold(layer: nn.Conv2d) -> None:
    inputs = torch.randn(3, 4, 6, 7)
    columns = F.unfold(
        inputs,
        layer.kernel_size,
        layer.dilation,
        layer.padding,
        layer.stride,  # type: ignore[arg-type]
    )  # (B, C * kernel positions, positions)
    positions = columns.shape[2]
    chosen = torch.randperm(positions, generator=torch.Generator().manual_seed(1))[:16]

    rows = sample_patches(layer, inputs, torch.Generator().manual_seed(1))

    by_kernel = columns.view(3, 4, -1, positions)[..., chosen].permute(0, 3, 2, 1)
    assert torch.equal(rows, by_kernel.reshape(rows.shape))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", LAYERS)
def test_patches_times_weights_are_the_outputs(name: str) -> None:
    layer = LAYERS[name]()
    sizes = {nn.Linear: (), nn.Conv1d: (9,), nn.Conv2d: (5, 6), nn.Conv3d: (3, 4, 3)}
    inputs = torch.randn(2, 6, *sizes[type(layer)])

    rows = sample_patches(layer, inputs, torch.Generator().manual_seed(1))

    with torch.no_grad():
        outputs = layer(inputs)
        found = rows.double() @ flat_weight(layer.get_parameter("weight"))
        found = (found + layer.get_parameter("bias")).view(2, -1, 5)
    outputs = outputs.reshape(2, 5, -1).movedim(1, -1)  # (B, positions, O)
    chosen = torch.randperm(outputs.shape[1], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.float(), outputs[:, chosen[: found.shape[1]]])


def test_no_calibration_images_are_refused() -> None:
    network, _ = pair(nn.Conv2d(6, 5, 3))

    with pytest.raises(InvalidInput, match="reconstruction got no calibration images"):
        Reconstruction(network, [])


def test_dead_inputs_are_survived() -> None:
    network, batches = pair(nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5))
    first = network.module.get_submodule("first")
    with torch.no_grad():
        first.get_parameter("weight").zero_()
        first.get_parameter("bias").zero_()

    solved = Reconstruction(network, batches).solve("layer", KEPT)

    assert bool((solved.weight == 0).all())


def test_a_module_used_twice_is_not_solved(rng: np.random.Generator) -> None:
    # Its two uses see different inputs, and it has one weight.
    module = topologies.Classifier(topologies.UsedTwice(), 6)
    network = trace(settled(module, (3, 8, 8)), (3, 8, 8))

    repair = Reconstruction(network, images_of(3, 8, 8, batches=1))

    assert repair.layers == {"body.last.0", "linear"}
    assert cut_network(network, random_kept(network.plan, rng), repair) is not None


def test_a_table_forgets_the_oldest_when_it_is_full() -> None:
    table = Tabulation[bytes](limit_bytes=10, size_of=len)
    computed: list[str] = []

    def get(key: str) -> bytes:
        def compute() -> bytes:
            computed.append(key)
            return key.encode() * 4

        return table.get(key, compute)

    assert [get(key) for key in "aabbcca"] == [key.encode() * 4 for key in "aabbcca"]
    assert "".join(computed) == "abca"
