"""From a policy's sparsities to the channels that are kept."""

from collections.abc import Sequence

import torch
from torch import Tensor

from automl_compress.compress.criteria import Batches, channel_scores, rank_channels
from automl_compress.core import Choice, Policy
from automl_compress.core.errors import PolicyMismatch
from automl_compress.networks.trace import Network


class ChannelSelector:
    """Ranks a network's channels once for each criterion and picks the top ones.

    Args:
        network: a traced network.
        calibration: labelled batches, for criteria that need gradients; a list, since each
            such criterion goes through it once.
        seed: for criteria that draw.
    """

    def __init__(
        self,
        network: Network,
        calibration: Sequence[tuple[Tensor, Tensor]] | None = None,
        seed: int = 0,
    ) -> None:
        self._network, self._seed = network, seed
        self._calibration: Batches | None = calibration
        self._rankings: dict[str, list[Tensor]] = {}
        self._chosen: dict[tuple[str, int, int], Tensor] = {}

    def kept(self, policy: Policy) -> list[Tensor]:
        """Return the kept channels of each group, ascending.

        Raises:
            PolicyMismatch: the policy names other groups, channels that do not exist, or more or
                fewer of them than its sparsity leaves.
        """
        graph = self._network.graph
        kept: list[Tensor] = []
        widths = policy.widths(graph)
        for place, (choice, width) in enumerate(zip(policy.choices, widths, strict=True)):
            if choice.kept is None:
                kept.append(self._top(choice.criterion, place, width))
            else:
                kept.append(_explicit(choice, width, graph.groups[place].channels))
        return kept

    def explicit(self, policy: Policy) -> Policy:
        """Return the policy with its channels written out."""
        return policy.with_kept([indices.tolist() for indices in self.kept(policy)])

    def ranking(self, criterion: str) -> list[Tensor]:
        """Return each group's channels from most to least important.

        Raises:
            UnknownName: no criterion has this name.
        """
        if criterion not in self._rankings:
            scores = channel_scores(self._network, criterion, self._calibration, self._seed)
            self._rankings[criterion] = rank_channels(scores)
        return self._rankings[criterion]

    def _top(self, criterion: str, group: int, width: int) -> Tensor:
        key = (criterion, group, width)
        if key not in self._chosen:
            self._chosen[key] = self.ranking(criterion)[group][:width].sort().values
        return self._chosen[key]


def _explicit(choice: Choice, width: int, channels: int) -> Tensor:
    kept = choice.kept or ()
    indices = torch.tensor(kept, dtype=torch.int64)
    is_ascending = bool((indices[1:] > indices[:-1]).all())
    if not kept or not is_ascending or kept[0] < 0 or kept[-1] >= channels:
        raise PolicyMismatch(
            f"group {choice.group!r} keeps channels {list(kept)[:8]}...; allowed are ascending "
            f"indices from 0 to {channels - 1}, at least one"
        )
    if len(kept) != width:  # its cost was counted by its sparsity
        raise PolicyMismatch(
            f"group {choice.group!r} keeps {len(kept)} of {channels} channels, but its sparsity of "
            f"{choice.sparsity:g} leaves {width}; make the two agree"
        )
    return indices
