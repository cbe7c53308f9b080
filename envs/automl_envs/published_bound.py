"""The action bound and the rounding of AMC's code, for groups one after the other."""

from collections.abc import Sequence

from automl_compress.core import Budget, CompressionSpace

PUBLISHED_MULTIPLE = 8  # AMC's channel_round


def published_bound(
    space: CompressionSpace,
    budget: Budget,
    setting: Sequence[int],
    group: int,
    undecided_keep: float,
) -> float:
    """Return AMC's a_hi: the keep ratio at which the budget is met with the rest at lbound.

    Args:
        space: of widths.
        budget: what a compressed network may cost.
        setting: the decided values, and those with which the others count.
        group: to decide now, by index.
        undecided_keep: AMC's lbound; the bound is never lower.

    Source: mit-han-lab/amc, env/channel_pruning_env.py, `_action_wall`; there the cost is
    linear in the ratio. Where a group cuts both axes of one layer it is not, and the
    chord used here lies above the cost.
    """
    channels = space.graph.groups[group].channels
    widths = list(setting)
    costs: list[int] = []
    for width in (1, channels):
        widths[group] = width
        costs.append(space.costs.cost(widths).of(budget.metric))
    if channels == 1 or costs[1] == costs[0]:
        return 1.0
    per_channel = (costs[1] - costs[0]) / (channels - 1)
    affordable = 1 + (budget.limit(space.full) - costs[0]) / per_channel
    return min(max(affordable / channels, undecided_keep), 1.0)


def round_as_published(ratio: float, channels: int) -> int:
    """Round to a multiple of 8 as AMC's code does: up, but down where that is too wide."""
    if ratio == 1.0:
        return channels
    width = max(round(channels * ratio), 1)
    width = -(-width // PUBLISHED_MULTIPLE) * PUBLISHED_MULTIPLE
    if width > channels:
        width = channels // PUBLISHED_MULTIPLE * PUBLISHED_MULTIPLE
    return width
