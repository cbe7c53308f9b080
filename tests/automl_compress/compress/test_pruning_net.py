"""PruningNet: what it generates is what the cut network computes."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from automl_compress.compress.pruning_net import PruningNet, corrected_weights
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.surgery import cut_module, masked_module, with_tensors
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks import topologies, zoo
from tests.automl_compress.networks.counting import random_kept, relative_difference, settled

IMAGE = (3, 8, 8)
BODIES = {
    "option A": lambda: topologies.Classifier(topologies.Residual("option A"), 12),
    "projection": lambda: topologies.Classifier(topologies.Residual("projection"), 12),
    "concatenation": lambda: topologies.Classifier(topologies.Concatenation(), 8),
    "flattened": lambda: topologies.Flattened(8, 8),
    "squeeze-excite": lambda: topologies.Classifier(topologies.SqueezeExcite(), 6),
    "used twice": lambda: topologies.Classifier(topologies.UsedTwice(), 6),
}


def traced(name: str) -> Network:
    torch.manual_seed(0)
    return trace(settled(BODIES[name](), IMAGE), IMAGE)


def stirred(net: PruningNet) -> PruningNet:
    """Give every parameter a value of its own, corrections included."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            scale = 0.1 if "directions" in name else 0.01
            parameter.add_(scale * torch.randn_like(parameter))
    return net.eval()


def first_channels(plan: ChannelPlan, rng: np.random.Generator) -> list[Tensor]:
    return [torch.arange(int(rng.integers(1, channels + 1))) for channels in plan.channels]


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("name", zoo.NAMES)
def test_untrained_and_uncut_it_is_the_source_network(name: str, rank: int) -> None:
    network = zoo.traced(name)
    images = torch.randn(3, *network.graph.input_shape)

    with torch.no_grad():
        generated = PruningNet(network, rank).eval()(images)
        source = network.module(images)

    assert float((generated - source).abs().max()) <= 1e-5 * float(source.abs().max().clamp_min(1))


def test_untrained_it_cuts_like_the_source_network(rng: np.random.Generator) -> None:
    network = traced("option A")
    kept = random_kept(network.plan, rng)

    generated = PruningNet(network, 4).network(kept)

    expected = cut_module(network.module, network.plan, kept).state_dict()
    found = generated.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", list(BODIES))
def test_the_cut_network_computes_what_the_masked_generated_one_does(
    name: str, rng: np.random.Generator
) -> None:
    """The oracle generates at full size and masks; it neither crops nor cuts."""
    network, images = traced(name), torch.randn(5, *IMAGE)
    net = stirred(PruningNet(network, 3))

    for _ in range(4):
        kept = random_kept(network.plan, rng)
        full = full_weights(net, network, kept)
        oracle = masked_module(with_tensors(network.module, full).eval(), network.plan, kept)

        with torch.no_grad():
            cut, masked = net.network(kept)(images), oracle(images)
            forward = net(images, kept)

        assert relative_difference(cut, masked) < 1e-5
        assert relative_difference(forward, cut) < 1e-6


def full_weights(net: PruningNet, network: Network, kept: list[Tensor]) -> dict[str, Tensor]:
    """W = B + sum of h_r U_r, written out for this structure."""
    counts = zip(kept, network.plan.channels, strict=True)
    ratios = [len(indices) / channels for indices, channels in counts]
    state = net.state_dict()
    weights = {}
    for name, _ in network.module.named_parameters():
        key = name.replace(".", "/")
        weight = state[f"shared.{key}"].clone()
        if name in corrected_weights(network):
            encoding = torch.tensor([ratios[group] for group in corrected_weights(network)[name]])
            projection = state[f"corrections.{key}.weight"]
            hidden = (projection @ encoding + state[f"corrections.{key}.bias"]).clamp_min(0)
            directions = state[f"corrections.{key}.directions"]
            for share, direction in zip(hidden, directions, strict=True):
                weight += share * direction.view(weight.shape)
        weights[name] = weight
    return weights


def test_cropping_the_first_channels_is_cutting_them(rng: np.random.Generator) -> None:
    """A forward pass on slices of generated weights, without plan or surgery."""
    network, images = traced("flattened"), torch.randn(5, *IMAGE)
    net = stirred(PruningNet(network, 2))
    kept = first_channels(network.plan, rng)
    full = full_weights(net, network, kept)
    first, second = (len(indices) for indices in kept)
    cropped = {
        "convolution.weight": full["convolution.weight"][:first],
        "convolution.bias": full["convolution.bias"][:first],
        "hidden.weight": full["hidden.weight"][:second, : first * 16],
        "hidden.bias": full["hidden.bias"][:second],
        "linear.weight": full["linear.weight"][:, :second],
        "linear.bias": full["linear.bias"],
    }

    with torch.no_grad():
        expected = functional_call(network.module, cropped, (images,))
        found = net.network(kept)(images)

    assert relative_difference(found, expected) < 1e-6


def test_a_structure_changes_the_weights_that_it_keeps() -> None:
    network = traced("option A")
    net = stirred(PruningNet(network, 4))
    wide = [torch.arange(channels) for channels in network.plan.channels]
    narrow = [torch.arange(max(channels // 2, 1)) for channels in network.plan.channels]

    name = next(iter(corrected_weights(network)))
    with torch.no_grad():
        before, after = net.tensors(wide)[name], net.tensors(narrow)[name]

    assert not torch.equal(before[: len(after), : after.shape[1]], after)


def test_every_parameter_learns(rng: np.random.Generator) -> None:
    network = traced("option A")
    net = stirred(PruningNet(network, 4)).train()
    kept = random_kept(network.plan, rng)

    net(torch.randn(6, *IMAGE), kept).square().sum().backward()

    silent = [name for name, value in net.named_parameters() if value.grad is None]
    assert not silent
    idle = [name for name, value in net.named_parameters() if not bool(value.grad.any())]
    assert not [name for name in idle if "shared" in name or "directions" in name]


def test_training_leaves_the_source_network_alone(rng: np.random.Generator) -> None:
    network = traced("option A")
    before = copy.deepcopy(network.module.state_dict())
    net = PruningNet(network, 4).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)

    for _ in range(3):
        optimiser.zero_grad()
        net(torch.randn(6, *IMAGE), random_kept(network.plan, rng)).square().sum().backward()
        optimiser.step()

    after = network.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not network.module.training


def test_corrections_read_the_groups_around_their_layer() -> None:
    network = traced("flattened")
    names = [group.name for group in network.graph.groups]

    corrected = corrected_weights(network)

    assert names == ["convolution", "hidden"]
    # The classifier has no output group: its weight is plain.
    assert corrected == {"convolution.weight": (0,), "hidden.weight": (0, 1)}


def test_random_weights_are_not_the_networks() -> None:
    network = traced("option A")

    net = PruningNet(network, 2, "random")

    for name, parameter in network.module.named_parameters():
        if parameter.dim() > 1:
            assert not torch.equal(net.state_dict()["shared." + name.replace(".", "/")], parameter)
    assert all(bool(value.any()) for name, value in net.named_parameters() if "directions" in name)


def test_a_network_that_is_too_large_for_its_rank_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = traced("option A")
    shared = sum(value.numel() for value in network.module.parameters())
    monkeypatch.setattr("automl_compress.compress.pruning_net.MOST_PARAMETERS", 4 * shared)

    PruningNet(network, 2)
    with pytest.raises(InvalidInput, match=r"Lower recipe.pruning_net.rank to at most 3") as caught:
        PruningNet(network, 32)

    assert "inherited" in str(caught.value)
    PruningNet(network, 3)


def test_frozen_networks_can_be_used() -> None:
    network = traced("option A")
    for parameter in network.module.parameters():
        parameter.requires_grad_(False)

    net = PruningNet(network, 2).train()
    net(torch.randn(4, *IMAGE)).sum().backward()

    assert all(value.grad is not None for name, value in net.named_parameters() if "shared" in name)
    assert isinstance(net.network([torch.arange(c) for c in network.plan.channels]), nn.Module)
