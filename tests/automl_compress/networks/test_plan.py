"""The plan's short ways choose what the mask over all channels chooses."""

import numpy as np
import pytest
import torch

from automl_compress.networks.coupling import SOURCE_VALUES
from automl_compress.networks.plan import renumber_sources
from automl_compress.networks.surgery import tensors_of
from tests.automl_compress.networks import zoo
from tests.automl_compress.networks.counting import random_kept

# Plain axes, a padded shortcut, concatenations, a flattened map.
NAMES = ["resnet-20", "mobilenet-v2", "squeezenet", "lenet-5"]


@pytest.mark.parametrize("name", NAMES)
def test_selections_are_those_of_the_mask(name: str, rng: np.random.Generator) -> None:
    plan = zoo.traced(name).plan
    for _ in range(5):
        kept = random_kept(plan, rng)
        mask = plan.mask(kept)
        expected = {axis: mask[numbers].nonzero()[:, 0] for axis, numbers in plan.axes.items()}
        found = plan.selections(kept)

        for axis, entries in expected.items():
            is_whole = len(entries) == len(plan.axes[axis])
            assert (axis not in found) == is_whole
            assert is_whole or torch.equal(found[axis], entries)


def test_a_shortcut_shows_zero_for_removed_channels() -> None:
    # Channels 0, 2, 3 of four stay; the map shows 3, 1 (removed), 0 and zero.
    found = renumber_sources(np.array([3, 1, 0, 4]), 4, np.array([0, 2, 3]))

    assert found.tolist() == [2, 3, 0, 3]


def test_what_loses_nothing_is_not_copied() -> None:
    network = zoo.traced("resnet-20")
    tensors = tensors_of(network.module)
    whole = [torch.arange(channels) for channels in network.plan.channels]

    cut = network.plan.cut(tensors, whole)

    assert any(axis == SOURCE_VALUES for _, axis in network.plan.axes)
    assert all(cut[name] is tensor for name, tensor in tensors.items())
