"""Ternary weights as the sum of two binary branches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_compress.core.errors import InvalidInput
from automl_compress.train.config import TrainingConfig
from automl_compress.train.ternary_branches import TernaryBranches, train_ternary
from automl_compress.train.training import train
from tests.automl_compress.train.test_training import made_data, made_network

CONFIG = TrainingConfig(epochs=4, batch_size=16, learning_rate=0.05)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([(1, 1), (3, 7), (4, 3, 3, 3), (8, 1, 5, 5)]),
    size=st.sampled_from([1e-3, 0.1, 1.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_the_merged_weight_is_the_sum_of_its_branches_exactly(
    shape: tuple[int, ...], size: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = size * torch.randn(shape, generator=generator)
    branches = TernaryBranches(weight)
    with torch.no_grad():  # as training would leave them
        branches.second.add_(size * torch.randn(shape, generator=generator))

    merged = branches.merged()

    alpha = (branches.first.abs() + branches.second.abs()).flatten(1).mean(1) / 2
    first, second = (torch.where(b < 0, -1, 1) for b in (branches.first, branches.second))
    by_hand = alpha.view(-1, *[1] * (len(shape) - 1)) * (first + second)
    assert torch.equal(merged.dequantise(), by_hand)
    assert set(merged.codes.unique().tolist()) <= {-1, 0, 1}


def test_small_weights_begin_as_zero() -> None:
    branches = TernaryBranches(torch.tensor([[1.0, -1.0, 0.1, -0.1, 0.0, 2.0]]))

    assert branches.merged().codes.tolist() == [[1, -1, 0, 0, 0, 1]]


def test_what_trains_is_what_is_merged() -> None:
    network, data = made_network(), made_data()
    train(network, data, CONFIG)

    trained = train_ternary(network, ["3", "6"], data, CONFIG)

    for name, tensor in trained.items():
        weight = network.get_parameter(f"{name}.weight")
        assert torch.equal(weight.detach(), tensor.dequantise())
        assert weight.requires_grad
    images, labels = next(data.split("train").batches(96))
    assert float((network(images).argmax(1) == labels).float().mean()) > 0.9
    assert sorted(dict(network.named_parameters())) == sorted(
        dict(made_network().named_parameters())
    )


def test_gradients_reach_both_branches_but_not_weights_beyond_one() -> None:
    branches = TernaryBranches(torch.tensor([[0.5, -0.2, 6.0, 0.1]]))

    signs = branches.forward(torch.zeros(1, 4)) / branches.scale().detach()[:, None]
    signs.backward(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))

    assert branches.first.grad is not None
    assert branches.second.grad is not None
    assert float(branches.first.grad[0, 0]) > 0.9
    # The third weight gets what reaches it through the scale alone.
    assert float(branches.first.grad[0, 2].abs()) < 0.5


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'9'"):
        train_ternary(made_network(), ["9"], made_data(), CONFIG)
    with pytest.raises(InvalidInput, match="'2'"):
        train_ternary(made_network(), ["2"], made_data(), CONFIG)
