"""Which channels a policy keeps."""

import numpy as np
import pytest
import torch

from automl_compress.compress.criteria import channel_scores
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import Budget, Policy, SpaceOptions
from automl_compress.core.errors import PolicyMismatch
from automl_compress.costs import compression_space
from automl_compress.networks.surgery import cut_module
from tests.automl_compress.networks import zoo
from tests.automl_compress.networks.counting import counted_cost


def test_the_best_channels_are_kept_in_ascending_order() -> None:
    network = zoo.traced("lenet-5")
    policy = Policy.from_widths(network.graph, [5, 1, 499])

    kept = ChannelSelector(network).kept(policy)

    for each, scores in zip(kept, channel_scores(network, "l1"), strict=True):
        assert each.tolist() == sorted(each.tolist())
        gone = sorted(set(range(len(scores))) - set(each.tolist()))
        assert float(scores[each].min()) >= float(scores[gone].max())


def test_written_out_channels_are_kept_again() -> None:
    network = zoo.traced("lenet-5")
    policy = Policy.from_widths(network.graph, [5, 7, 20], criterion="l2")
    selector = ChannelSelector(network)

    again = selector.kept(selector.explicit(policy))

    assert all(torch.equal(*pair) for pair in zip(again, selector.kept(policy), strict=True))


@pytest.mark.parametrize("kept", [(0, 2, 2), (2, 1, 0), (-1, 3, 4), (0, 1, 20), ()], ids=str)
def test_impossible_channels_are_refused(kept: tuple[int, ...]) -> None:
    network = zoo.traced("lenet-5")
    policy = Policy.from_widths(network.graph, [3, 1, 1]).with_kept([kept, [0], [0]])

    with pytest.raises(PolicyMismatch, match="'conv1' keeps channels"):
        ChannelSelector(network).kept(policy)


def test_channels_that_contradict_the_sparsity_are_refused() -> None:
    # The cost of a policy is counted by its sparsities.
    network = zoo.traced("lenet-5")
    policy = Policy.from_widths(network.graph, [3, 1, 1]).with_kept([[0, 1, 2, 3], [0], [0]])

    with pytest.raises(PolicyMismatch, match=r"keeps 4 of 20 channels.* leaves 3"):
        ChannelSelector(network).kept(policy)


@pytest.mark.parametrize("name", ["lenet-5", "resnet-20", "mobilenet-v2", "squeezenet"])
@pytest.mark.parametrize("round_to", [1, 2, 4, 8, 16])
def test_rounding_never_leads_over_the_budget_and_empties_no_layer(
    name: str, round_to: int, rng: np.random.Generator
) -> None:
    graph = zoo.traced(name).graph
    space = compression_space(graph, SpaceOptions(round_to=round_to))

    for metric, ratio in (("macs", 0.5), ("parameters", 0.4), ("size_bytes", 0.3)):
        budget = Budget(metric, ratio)
        proposal = rng.uniform(0.0, 1.0, len(graph.groups)).tolist()
        for widths in (
            space.repair(proposal, budget),
            space.sample(rng, budget),
            space.uniform(budget),
        ):
            assert space.within(widths, budget)
            for width, channels in zip(widths, graph.full_widths, strict=True):
                assert 1 <= width <= channels
                assert width % round_to == 0 or width == channels


def test_cut_network_itself_is_within_the_budget(rng: np.random.Generator) -> None:
    network = zoo.traced("resnet-20")
    graph = network.graph
    space = compression_space(graph, SpaceOptions(round_to=8))
    budget = Budget("macs", 0.5)

    policy = space.policy(space.sample(rng, budget))
    cut = cut_module(network.module, network.plan, ChannelSelector(network).kept(policy))

    full = counted_cost(network.module, graph.input_shape)
    assert counted_cost(cut, graph.input_shape).macs <= 0.5 * full.macs
