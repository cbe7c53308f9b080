"""The decision process: one site after the other, to a policy within the budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from automl_compress.core import Budget, CompressionSpace, Policy
from automl_compress.core.errors import InvalidInput, WrongState
from automl_envs.published_bound import published_bound, round_as_published
from automl_envs.sites import Site, open_kinds, sites_of

Limit = Literal["scale", "repair", "bound", "published"]


@dataclass(frozen=True, slots=True)
class WalkRules:
    """How actions become values within the budget.

    limit: `scale` takes each action as it is and, after the last step, scales all of them by
            one common multiplier to the budget; no decision pays for having a late place.
        `repair` scales only an episode that is over the budget; one below it stays, so that its
            cost is the actor's own.
        `bound` is AMC's action bound, group-aware: no decision may take more than leaves the
            budget reachable for those behind it. Early ones are served first: of a layer its
            width, then its density, weight bits and activation bits.
        `published` is the bound of AMC's code, for widths alone: it counts groups to come at
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
    """Visits the sites of a space in the graph's order and takes the decisions of each.

    Where widths alone are open a site is a group; otherwise it is a convolution or linear layer.
    An action holds a share in [0, 1] for each of the K kinds that the space opens: the *keep
    ratio* of the group whose first producer the layer is (as in AMC's code; its paper writes of
    sparsity), the density of its weights, and its bits by their place among the allowed ones.
    Components that a site does not decide are ignored.

    Attributes:
        kinds: what the K components of an action decide.
        order: the visited sites; its length is an episode's.
        assumed: values with which undecided decisions count toward the budget.
        setting: the value of every decision: decided, or the assumption for those to come.
        chosen: the values that were decided, by decision; before the scaling or repair that
            may follow the last step.
        realised: of each visited site the shares, before scaling or repair: those decided,
            those that stood where nothing was to be decided, 1 where nothing can be. Each
            float64 (K,).
    """

    kinds: tuple[str, ...]
    order: tuple[Site, ...]

    def __init__(self, space: CompressionSpace, budget: Budget, rules: WalkRules) -> None:
        """Begin at the first site.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
            InvalidInput: the published limit where more than widths is open.
        """
        space.check_reachable(budget)
        self.space, self.budget, self.rules = space, budget, rules
        self.kinds, self.order = self._route()
        if rules.limit == "published" and self.kinds != ("width",):
            raise InvalidInput(
                "limit 'published' is the bound of AMC's code, which decides widths alone, and "
                f"this space opens {', '.join(self.kinds)}; choose 'scale' or 'bound'"
            )
        self.assumed = self._assumed()
        self.reset()

    def _route(self) -> tuple[tuple[str, ...], tuple[Site, ...]]:
        return open_kinds(self.space), sites_of(self.space)

    def reset(self) -> None:
        """Go back to the first site, with nothing decided."""
        self.setting = list(self.assumed)
        self.chosen: dict[int, int] = {}
        self.realised: list[np.ndarray] = []
        self._wanted: list[float] = self.space.shares(self.assumed).tolist()
        self._undecided = {place for site in self.order for place in site.decisions}

    def _assumed(self) -> tuple[int, ...]:
        if self.rules.limit != "published":
            return self.space.smallest
        return self.space.clip([self.rules.undecided_keep] * len(self.space.decisions))

    @property
    def steps(self) -> int:
        """How many sites are decided."""
        return len(self.realised)

    @property
    def is_done(self) -> bool:
        """Whether every site is decided."""
        return self.steps == len(self.order)

    @property
    def site(self) -> Site:
        """The site to decide now; the last one when the walk is done."""
        return self.order[min(self.steps, len(self.order) - 1)]

    @property
    def undecided(self) -> tuple[int, ...]:
        """The decisions still to come, by index in the space, ascending."""
        return tuple(sorted(self._undecided))

    def with_undecided(self, setting: Sequence[int]) -> list[int]:
        """Return the decided values, completed by these for the decisions still to come."""
        completed = list(self.setting)
        for place in self._undecided:
            completed[place] = setting[place]
        return completed

    def setting_before(self, step: int) -> list[int]:
        """Return the values as they stood before this step, undecided ones as assumed."""
        setting = list(self.assumed)
        for site in self.order[:step]:
            for place in site.decisions:
                setting[place] = self.chosen[place]
        return setting

    def bounds(self) -> np.ndarray:
        """Return the lowest and the highest share that each component can have now.

        Where the site decides several things, each highest share holds while the others are
        at their lowest. Both are the standing share where nothing is decided. Published
        rounding may realise a little more than the highest. float64 (K, 2).
        """
        self._check_open()
        site, standing = self.site, self._standing(self.site)
        return np.array(
            [
                self._bounds_of(place) if is_here and place is not None else (share, share)
                for place, is_here, share in zip(site.places, site.decides, standing, strict=True)
            ]
        )

    def step(self, action: Sequence[float] | np.ndarray) -> np.ndarray:
        """Take the decisions of the current site and go to the next.

        Args:
            action: shares, clipped to the bounds. (K,).

        Returns:
            The realised shares, before what may follow the last step. float64 (K,).

        Raises:
            WrongState: every site is decided already.
        """
        self._check_open()
        site = self.site
        for place, is_here, share in zip(site.places, site.decides, action, strict=True):
            if is_here and place is not None:
                self._decide(place, float(share))
        self.realised.append(self._standing(site))
        if self.is_done:
            self._close()
        return self.realised[-1]

    def policy(self) -> Policy:
        """Return the policy of a finished walk; it is within the budget.

        Raises:
            WrongState: sites are left to decide.
        """
        if not self.is_done:
            raise WrongState(
                f"{self.steps} of {len(self.order)} sites are decided; "
                "step through the others first"
            )
        return self.space.policy(self.setting)

    def _check_open(self) -> None:
        if self.is_done:
            raise WrongState(
                f"all {len(self.order)} sites are decided; reset the walk, or take its policy"
            )

    def _standing(self, site: Site) -> np.ndarray:
        shares = self.space.shares(self.setting)
        return np.array([1.0 if place is None else shares[place] for place in site.places])

    def _bounds_of(self, place: int) -> tuple[float, float]:
        if self.rules.limit == "published":
            lowest = self.rules.undecided_keep
            return lowest, published_bound(self.space, self.budget, self.setting, place, lowest)
        amounts = self._reachable_amounts(place)
        full = self.space.decisions[place].full_amount
        return amounts[0] / full, amounts[-1] / full

    def _reachable_amounts(self, place: int) -> Sequence[int]:
        decision = self.space.decisions[place]
        if self.rules.limit != "bound":
            return decision.amounts
        decided = {
            each: value for each, value in enumerate(self.setting) if each not in self._undecided
        }
        highest = self.space.largest_feasible(decided, place, self.budget)
        return decision.amounts[: decision.allowed.index(highest) + 1]

    def _decide(self, place: int, share: float) -> None:
        decision = self.space.decisions[place]
        lowest, highest = self._bounds_of(place)
        share = max(min(share, highest), lowest)
        if self.rules.limit == "published":
            share = round_as_published(share, decision.full) / decision.full
        wanted = share * decision.full_amount
        amounts = self._reachable_amounts(place)
        nearest = min(range(len(amounts)), key=lambda index: abs(amounts[index] - wanted))
        self._take(place, decision.allowed[nearest], share)

    def _take(self, place: int, value: int, share: float) -> None:
        self.setting[place] = self.chosen[place] = value
        self._wanted[place] = share
        self._undecided.discard(place)

    def _close(self) -> None:
        """Scale, or repair what rounding led over the budget."""
        if self.rules.limit == "scale":
            self.setting = list(self.space.project(self._wanted, self.budget))
        elif not self.space.within(self.setting, self.budget):
            self.setting = list(self.space.repair(self._wanted, self.budget))
