"""The last phase of `auto`: which filters a policy keeps.

A criterion ranks filters one by one and before anything is cut. Measured on the cut network,
exchanges of kept filters for removed ones win more than the widths have left to win.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from automl_agents.auto.aims import Aim
from automl_agents.auto.answers import Answers
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.exchange import Setting
from automl_agents.auto.filter_values import FilterValues
from automl_agents.auto.plan import Plan
from automl_agents.auto.rounds import screening_images
from automl_agents.filter_masks import FilterMasks, Mask
from automl_compress.core import Budget, Policy, SearchProblem

PROPOSALS = 200  # drawn for each that is measured
MOST_EXCHANGED = 3  # filters, in one proposal
FEWEST_REMOVED = 0.1  # of the filters that may be: with hardly any removed, little depends on which
PATIENCE = 40  # exchanges in a row that scored no better than the leader; then the phase ends


@dataclass(slots=True)
class _Leader:
    """The best policy of a budget, which exchanges start from.

    ratio: of the budget.
    whole, part: its score on all images, and on those that screen; None while unknown.
    fruitless: exchanges in a row that were no better on the same images.
    """

    ratio: float
    setting: Setting
    filters: tuple[int, ...]
    whole: float | None
    part: float | None = None
    fruitless: int = 0


class FilterExchanges:
    """Exchanges filters of the best policy, and goes on from every exchange that is better.

    Each exchange is compared with the leader on the same few images; one that is better there is
    scored on all. What it gained teaches what its filters are worth, and of many drawn exchanges
    that which a sample of these values thinks best is measured next (Thompson sampling).

    Where budgets fall, a leader of the next budget takes over the filters of the cheapest policy
    that has reached the accuracy floor, as far as its widths let it.
    """

    def __init__(self, problem: SearchProblem, config: AutoConfig, answers: Answers) -> None:
        """Begin; `answers` are those that the searcher goes on to fill."""
        self._problem, self._answers = problem, answers
        widths = problem.space.allowed[: len(problem.space.graph.groups)]
        #: Whether there may be anything to exchange.
        self.can_gain = (
            config.filter_share > 0.0
            and problem.importance is not None
            and any(len(allowed) > 1 for allowed in widths)
        )
        self._images = screening_images(problem, config.filter_images)
        self._leaders: dict[int, _Leader] = {}  # by the budget's place; 0 where budgets fall
        #: Of the cheapest policy that has reached the floor: cost, setting, filters.
        self._reached: tuple[float, Setting, tuple[int, ...]] | None = None
        self._promoted: list[Plan] = []  # screened better, not asked for yet
        self._screened: dict[str, float] = {}  # scores of all that were promoted, by digest

    @cached_property
    def _masks(self) -> FilterMasks:
        """Made when first needed: some criteria forward images."""
        assert self._problem.importance is not None
        importance = self._problem.importance()
        return FilterMasks(self._problem.space, self._problem.budget, importance, 1.0)

    @cached_property
    def _values(self) -> FilterValues:
        return FilterValues(self._masks.filters)

    def applied(self, policy: Policy, plan: Plan) -> Policy:
        """Return the policy of a plan with the plan's filters written out."""
        if plan.filters is None:
            return policy
        return self._masks.applied(policy, self._mask(plan.filters))

    def plans(self, aim: Aim, rng: np.random.Generator) -> Iterator[Plan]:
        """Propose the next exchange for an aim's budget; none where little is left to gain."""
        if not self.can_gain:
            return
        if self._promoted:
            yield self._promoted.pop(0)
            return
        is_falling = self._problem.accuracy_floor is not None
        place = 0 if is_falling else self._problem.budgets.index(aim.budget)
        leader = self._leaders.get(place)
        if leader is None or leader.ratio != aim.budget.ratio:
            successor = self._next_leader(aim.budget, leader, rng)
            if successor is None:
                return
            leader = self._leaders[place] = successor
            yield from self._opening(leader, aim)
        if leader.fruitless < PATIENCE:
            yield from self._exchange(leader, aim, rng)

    def _next_leader(
        self, budget: Budget, before: _Leader | None, rng: np.random.Generator
    ) -> _Leader | None:
        space, whole = self._problem.space, self._answers.whole
        groups, fruitless = len(space.graph.groups), 0 if before is None else before.fruitless
        if self._reached is not None:
            _, known, kept = self._reached
            setting = space.project(space.shares(known).tolist(), budget)
            mask = self._masks.resized(self._mask(kept), setting[:groups], rng)
            return _Leader(budget.ratio, setting, _places(mask), None, fruitless=fruitless)
        within = self._answers.whole_within(budget)
        if not within:
            return None
        best = max(within, key=lambda each: whole[each])
        if self._removed(best) < FEWEST_REMOVED:
            return None
        mask = self._masks.of_widths(best[:groups], rng, share=1.0)
        return _Leader(budget.ratio, best, _places(mask), whole[best], fruitless=fruitless)

    def _removed(self, setting: Setting) -> float:
        """Return the fraction of the filters that the space may remove, which a setting does."""
        groups = len(self._problem.space.graph.groups)
        allowed = self._problem.space.allowed[:groups]
        opened = [place for place in range(groups) if len(allowed[place]) > 1]
        removed = sum(allowed[place][-1] - setting[place] for place in opened)
        return removed / sum(allowed[place][-1] - allowed[place][0] for place in opened)

    def _opening(self, leader: _Leader, aim: Aim) -> Iterator[Plan]:
        """Propose the leader itself, on those images whose score is not known."""
        if leader.whole is None:
            why = f"the filters that reached the floor, fitted{aim.words}"
            yield Plan(leader.setting, None, why, leader.filters)
        if self._images is not None:
            why = f"filters are exchanged from here on{aim.words}"
            yield Plan(leader.setting, self._images, why, leader.filters)

    def _exchange(self, leader: _Leader, aim: Aim, rng: np.random.Generator) -> Iterator[Plan]:
        start = self._mask(leader.filters)
        changes = self._masks.exchanged(start, rng, PROPOSALS, MOST_EXCHANGED)
        for best in np.argsort(-(changes @ self._values.sample(rng)), kind="stable"):
            filters = _places(start + changes[best])
            if _digest(filters) not in self._screened:
                on = "all" if self._images is None else f"{self._images}"
                count = np.count_nonzero(changes[best] > 0)
                why = f"filters exchanged: {count}, scored on {on} images{aim.words}"
                yield Plan(leader.setting, self._images, why, filters)
                return

    def tell(self, plan: Plan, learnt: float | None) -> None:
        """Take what a plan with filters scored, higher is better; None where it failed."""
        for leader in self._leaders.values():
            if leader.setting != plan.setting:
                continue
            if plan.filters == leader.filters:
                if plan.images is None:
                    leader.whole = learnt
                else:
                    leader.part = learnt
            elif plan.images is None and self._images is not None:
                self._follow(leader, plan, learnt)
            else:
                self._compare(leader, plan, learnt)

    def reach(self, plan: Plan, cost: float) -> None:
        """Take note that a plan of this cost, scored on all images, has reached the floor."""
        if not self.can_gain or (self._reached is not None and cost >= self._reached[0]):
            return
        filters = plan.filters
        if filters is None:
            rng = np.random.default_rng(0)  # the ranking alone decides
            widths = plan.setting[: len(self._problem.space.graph.groups)]
            filters = _places(self._masks.of_widths(widths, rng, share=1.0))
        self._reached = cost, plan.setting, filters

    def _compare(self, leader: _Leader, plan: Plan, learnt: float | None) -> None:
        """Hold an exchange against its leader; what is better there is scored on all images."""
        assert plan.filters is not None
        standard = leader.whole if plan.images is None else leader.part
        gain = 0.0 if learnt is None or standard is None else learnt - standard
        leader.fruitless = 0 if gain > 0.0 else leader.fruitless + 1
        if learnt is None or standard is None:
            return
        change = self._mask(plan.filters).astype(np.int8) - self._mask(leader.filters)
        self._values.learn(change, gain)
        if plan.images is None:
            self._follow(leader, plan, learnt)
        elif gain > 0.0:
            self._screened[_digest(plan.filters)] = learnt
            why = f"exchanged filters that screened better by {gain:.3f}"
            self._promoted.append(Plan(plan.setting, None, why, plan.filters))

    def _follow(self, leader: _Leader, plan: Plan, learnt: float | None) -> None:
        """Go on from what all images found better."""
        assert plan.filters is not None
        if learnt is not None and (leader.whole is None or learnt > leader.whole):
            leader.filters, leader.whole = plan.filters, learnt
            leader.part = self._screened.get(_digest(plan.filters))

    def _mask(self, filters: tuple[int, ...]) -> Mask:
        mask = np.zeros(self._masks.filters, dtype=bool)
        mask[list(filters)] = True
        return mask

    def to_json(self) -> dict[str, Any]:
        """Return leaders, what they are compared on, and everything learnt."""
        return {
            "values": self._values.to_json() if self._leaders else [],
            "leaders": [[place, asdict(leader)] for place, leader in self._leaders.items()],
            "promoted": [plan.to_json() for plan in self._promoted],
            "screened": self._screened,
            "reached": self._reached,
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        if content["values"]:
            self._values.restore(content["values"])
        self._leaders = {int(place): _leader(each) for place, each in content["leaders"]}
        self._promoted = [Plan.from_json(plan) for plan in content["promoted"]]
        self._screened = dict(content["screened"])
        if content["reached"] is not None:
            cost, setting, filters = content["reached"]
            self._reached = float(cost), tuple(setting), tuple(filters)


def _leader(content: Mapping[str, Any]) -> _Leader:
    places = {name: tuple(content[name]) for name in ("setting", "filters")}
    return _Leader(**{**content, **places})


def _digest(filters: tuple[int, ...]) -> str:
    """Return a short name: a snapshot goes to the store with every trial."""
    return sha256(np.array(filters, dtype=np.int32).tobytes()).hexdigest()[:16]


def _places(mask: Mask) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())
