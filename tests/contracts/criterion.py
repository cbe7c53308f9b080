"""What every criterion must do. Subclass `CriterionContract` and name one."""

import pytest
import torch

from automl_compress.compress.criteria import Batches, channel_scores, rank_channels
from automl_compress.networks.trace import Network


class CriterionContract:
    """Run on every criterion; `criterion` and `network` are fixtures of the subclass."""

    @pytest.fixture
    def batches(self, network: Network) -> Batches:
        generator = torch.Generator().manual_seed(5)
        shape = network.graph.input_shape
        return [
            (torch.randn(6, *shape, generator=generator), torch.arange(6) % 4) for _ in range(2)
        ]

    def test_every_channel_of_every_group_has_a_finite_score(
        self, criterion: str, network: Network, batches: Batches
    ) -> None:
        scores = channel_scores(network, criterion, batches)

        assert [tuple(each.shape) for each in scores] == [
            (channels,) for channels in network.graph.full_widths
        ]
        assert all(bool(torch.isfinite(each).all()) for each in scores)

    def test_scores_tell_channels_apart(
        self, criterion: str, network: Network, batches: Batches
    ) -> None:
        scores = channel_scores(network, criterion, batches)

        assert all(len(each.unique()) > 1 for each in scores)

    def test_the_same_call_gives_the_same_scores(
        self, criterion: str, network: Network, batches: Batches
    ) -> None:
        first = channel_scores(network, criterion, batches, seed=1)
        second = channel_scores(network, criterion, batches, seed=1)

        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))

    def test_the_network_stays_as_it_was(
        self, criterion: str, network: Network, batches: Batches
    ) -> None:
        before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}

        channel_scores(network, criterion, batches)

        found = network.module.state_dict()
        assert all(torch.equal(before[name], found[name]) for name in before)
        assert not network.module.training
        assert all(parameter.grad is None for parameter in network.module.parameters())

    def test_ranking_begins_with_the_highest_score(
        self, criterion: str, network: Network, batches: Batches
    ) -> None:
        scores = channel_scores(network, criterion, batches)

        for each, ranked in zip(scores, rank_channels(scores), strict=True):
            assert sorted(ranked.tolist()) == list(range(len(each)))
            assert bool((each[ranked].diff() <= 0).all())
