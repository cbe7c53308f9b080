"""The file of a quantised network: never larger than what the search counted, and exact."""

import numpy as np
import pytest
import torch

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.packing import packed_bytes, unpack
from automl_compress.compress.quantised_network import quantise_network
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import SpaceOptions
from automl_compress.costs import PolicyCosts, compression_space
from tests.automl_compress.networks import zoo

SPACES = {
    "bits": SpaceOptions(weight_bits=(1, 2, 3, 4, 5, 6, 7, 8, 16, 32), edge_bits=None),
    "one bit-width": SpaceOptions(schemes=(), weight_bits=(2,)),
    "weights and bits": SpaceOptions(schemes=("element",), weight_bits=(2, 4, 8)),
    "one scale": SpaceOptions(
        weight_bits=(2, 3, 4, 5, 6, 7, 8, 16, 32), edge_bits=None, weight_scales="tensor"
    ),
    "sparse and one scale": SpaceOptions(
        schemes=("element",), weight_bits=(2, 4, 8), weight_scales="tensor", quantiser="uniform"
    ),
    "weights": SpaceOptions(schemes=("channel", "element")),
    "shared": SpaceOptions(
        weight_bits=(2, 3, 4, 5, 6, 7, 8, 32), edge_bits=None, quantiser="kmeans"
    ),
    "sparse and shared": SpaceOptions(
        schemes=("channel", "element"), weight_bits=(2, 3, 4), edge_bits=None, quantiser="kmeans"
    ),
}


@pytest.mark.parametrize("opened", SPACES)
@pytest.mark.parametrize("name", ["lenet-5", "resnet-20", "mobilenet-v2", "squeezenet"])
def test_no_file_is_larger_than_what_the_search_counted(
    name: str, opened: str, rng: np.random.Generator
) -> None:
    network = zoo.traced(name)
    space = compression_space(network.graph, SPACES[opened])
    selector, costs = ChannelSelector(network), PolicyCosts(network.graph)
    for _ in range(3):
        policy = space.policy([int(rng.choice(values)) for values in space.allowed])
        module = cut_network(network, selector.kept(policy))
        choices = policy.layer_choices(network.graph)

        quantised = quantise_network(module, choices, network.plan.norm_after, {})
        content = packed_bytes(quantised)

        assert len(content) <= costs.cost(policy).size_bytes
        found = unpack(content).state_dict()
        state = quantised.module.state_dict()
        assert set(found) == set(state) - quantised.neutral
        assert all(torch.equal(found[each], state[each]) for each in found)
