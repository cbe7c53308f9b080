"""The decision process: one coupled group after the other, never out of the budget's reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from automl_compress.core import Budget, CompressionSpace, Policy
from automl_compress.core.errors import InvalidInput, WrongState

Limit = Literal["scale", "bound", "published"]
PUBLISHED_MULTIPLE = 8  # AMC's channel_round


@dataclass(frozen=True, slots=True)
class WalkRules:
    """How actions become widths within the budget.

    limit: `scale` takes each action as it is and, after the last step, scales all of them by
            one common multiplier to the budget; no group pays for having a late place.
        `bound` is AMC's action bound, group-aware: no group may keep more than leaves the
            budget reachable for the groups behind it. Early groups are served first.
        `published` is the bound of AMC's code, which counts groups to come at
            `undecided_keep` and takes the cost as linear in the ratio; then it rounds up to 8
            channels (down where that exceeds the group), which may pass the budget: such an
            episode is repaired after its last step.
    undecided_keep: for `published`: the keep ratio that groups to come count with, and the
        smallest that an action can have (AMC's lbound).
    """

    limit: Limit = "scale"
    undecided_keep: float = 0.2

    def __post_init__(self) -> None:
        """Refuse unknown limits and ratios outside (0, 1]."""
        if self.limit not in get_args(Limit):
            raise InvalidInput(
                f"limit is {self.limit!r}; choose one of: {', '.join(get_args(Limit))}"
            )
        if not 0.0 < self.undecided_keep <= 1.0:
            raise InvalidInput(
                f"undecided_keep is {self.undecided_keep!r}; give a number above 0 and at most 1"
            )


class LayerWalk:
    """Visits the groups of a space in the graph's order and decides each group's width.

    An action is a *keep ratio* in [0, 1]: the fraction of the group's channels that stays, as in
    AMC's code (its paper writes of sparsity). Groups of only one allowed width (skipped or
    fixed ones) are not visited, unless there are no others.

    Attributes:
        assumed: widths with which undecided groups count toward the budget.
        order: the visited groups, by index in the graph; its length is an episode's.
        widths: of every group: decided, or the assumption for those still to come.
        realised: keep ratios of the decided groups, in the order of the visit; before the
            scaling or repair that may follow the last step.
    """

    def __init__(self, space: CompressionSpace, budget: Budget, rules: WalkRules) -> None:
        """Begin at the first group.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        space.check_reachable(budget)
        self.space, self.budget, self.rules = space, budget, rules
        groups = range(len(space.graph.groups))
        free = tuple(group for group in groups if len(space.allowed[group]) > 1)
        self.order = free or tuple(groups)
        self.assumed = self._assumed()
        self.reset()

    def reset(self) -> None:
        """Go back to the first group, with nothing decided."""
        self.widths = list(self.assumed)
        self.realised: list[float] = []
        groups = self.space.graph.groups
        self._wanted = [
            width / group.channels for width, group in zip(self.assumed, groups, strict=True)
        ]

    def _assumed(self) -> tuple[int, ...]:
        if self.rules.limit != "published":
            return self.space.smallest
        return self.space.clip([self.rules.undecided_keep] * len(self.space.graph.groups))

    @property
    def steps(self) -> int:
        """How many groups are decided."""
        return len(self.realised)

    @property
    def is_done(self) -> bool:
        """Whether every group is decided."""
        return self.steps == len(self.order)

    @property
    def group(self) -> int:
        """Index of the group to decide now; of the last one when the walk is done."""
        return self.order[min(self.steps, len(self.order) - 1)]

    def with_undecided(self, widths: Sequence[int]) -> list[int]:
        """Return the decided widths, completed by these for the groups still to come."""
        completed = list(self.widths)
        for group in self.order[self.steps :]:
            completed[group] = widths[group]
        return completed

    def widths_before(self, step: int) -> list[int]:
        """Return the widths as they stood before this step, undecided groups as assumed."""
        widths = list(self.assumed)
        for group, keep_ratio in zip(self.order[:step], self.realised, strict=False):
            widths[group] = round(keep_ratio * self.space.graph.groups[group].channels)
        return widths

    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest keep ratio that an action can have now.

        Published rounding may realise a little more than the highest.
        """
        self._check_open()
        channels = self.space.graph.groups[self.group].channels
        if self.rules.limit == "published":
            return self.rules.undecided_keep, self._published_bound()
        allowed = self.space.allowed[self.group]
        return allowed[0] / channels, self._highest_width() / channels

    def step(self, keep_ratio: float) -> float:
        """Decide the current group and go to the next.

        Args:
            keep_ratio: the action; clipped to the bounds.

        Returns:
            The realised keep ratio: kept channels divided by the group's channels, before
            what may follow the last step.

        Raises:
            WrongState: every group is decided already.
        """
        self._check_open()
        group, channels = self.group, self.space.graph.groups[self.group].channels
        lowest, highest = self.bounds()
        ratio = max(min(keep_ratio, highest), lowest)
        if self.rules.limit == "published":
            ratio = _round_as_published(ratio, channels) / channels
        width = self._nearest_width(ratio * channels)
        self.widths[group] = width
        self._wanted[group] = ratio
        self.realised.append(width / channels)
        if self.is_done:
            self._close()
        return self.realised[-1]

    def policy(self) -> Policy:
        """Return the policy of a finished walk; it is within the budget.

        Raises:
            WrongState: groups are left to decide.
        """
        if not self.is_done:
            raise WrongState(
                f"{self.steps} of {len(self.order)} groups are decided; "
                "step through the others first"
            )
        return self.space.policy(self.widths)

    def _check_open(self) -> None:
        if self.is_done:
            raise WrongState(
                f"all {len(self.order)} groups are decided; reset the walk, or take its policy"
            )

    def _highest_width(self) -> int:
        if self.rules.limit == "scale":
            return self.space.allowed[self.group][-1]
        undecided = set(self.order[self.steps :])
        decided = {each: width for each, width in enumerate(self.widths) if each not in undecided}
        return self.space.largest_feasible(decided, self.group, self.budget)

    def _nearest_width(self, wanted: float) -> int:
        allowed = self.space.allowed[self.group]
        if self.rules.limit == "bound":
            highest = self._highest_width()
            allowed = [width for width in allowed if width <= highest]
        return min(allowed, key=lambda width: abs(width - wanted))

    def _published_bound(self) -> float:
        """Return AMC's a_hi: the ratio at which the budget is met with the rest at lbound.

        Source: mit-han-lab/amc, env/channel_pruning_env.py, `_action_wall`; there the cost is
        linear in the ratio. Where a group cuts both axes of one layer it is not, and the
        chord used here lies above the cost.
        """
        group = self.group
        channels = self.space.graph.groups[group].channels
        widths = list(self.widths)
        costs = []
        for width in (1, channels):
            widths[group] = width
            costs.append(self.space.costs.cost(widths).of(self.budget.metric))
        if channels == 1 or costs[1] == costs[0]:
            return 1.0
        per_channel = (costs[1] - costs[0]) / (channels - 1)
        affordable = 1 + (self.budget.limit(self.space.full) - costs[0]) / per_channel
        return min(max(affordable / channels, self.rules.undecided_keep), 1.0)

    def _close(self) -> None:
        """Scale, or repair what rounding led over the budget."""
        if self.rules.limit == "scale":
            self.widths = list(self.space.project(self._wanted, self.budget))
        elif not self.space.within(self.widths, self.budget):
            self.widths = list(self.space.repair(self._wanted, self.budget))


def _round_as_published(ratio: float, channels: int) -> int:
    """Round to a multiple of 8 as AMC's code does: up, but down where that is too wide."""
    if ratio == 1.0:
        return channels
    width = max(round(channels * ratio), 1)
    width = -(-width // PUBLISHED_MULTIPLE) * PUBLISHED_MULTIPLE
    if width > channels:
        width = channels // PUBLISHED_MULTIPLE * PUBLISHED_MULTIPLE
    return width
