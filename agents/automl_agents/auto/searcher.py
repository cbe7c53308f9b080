"""`auto`: a sensitivity profile, a knapsack, and a surrogate that measured errors correct."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from automl_agents.allocation.knapsack import Allocator
from automl_agents.allocation.profile import MEASURES, Measure, SensitivityProfile
from automl_agents.allocation.profile_plan import ProfilePlan, plan_profile
from automl_agents.auto.aims import Aim, create_aims
from automl_agents.auto.answers import Answers
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.exchange import Exchanges, Setting
from automl_agents.auto.surrogate import Surrogate
from automl_agents.decisions import open_decisions
from automl_agents.ledger import TrialLedger
from automl_agents.random_stream import random_stream
from automl_compress.core import Budget, Measurement, SearchProblem, Snapshot, Suggestion, Trial

LEVELS = 3  # values of each decision that the profile measures
BASES = 6  # policies that moves start from
MOVES = 25  # tried from each of them
CLIMBS = 2  # rounds of moves from the best moves
LAST_SHARE = 0.2  # of the effort, in which nothing is explored any more
FEWEST_MEASUREMENTS = 6  # before the surrogate is asked
SMALLEST_SAVING = 0.6  # a screening that costs more of an evaluation than this is left out
SMALLEST_KL = 1e-6  # nats; the logarithm of an untouched network's is minus infinity


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is asked next: a policy, on how many images (None for all), and why."""

    setting: Setting
    images: int | None
    note: str


class AutoSearcher:
    """Spends an effort the way that won our own comparison.

    1. The uniform policy, scored on all images; a profile: a few values of each decision alone,
       on a subset of the images.
    2. The profile's losses go through an exact knapsack; its solutions are scored on all images.
    3. From then on in rounds: a Gaussian process over the decisions learns from every candidate
       measured; exchange moves from the best policies, and a few random ones, are drawn; those
       that a sample of the process thinks best are screened on a subset, and the one of the
       highest mean is scored on all images. What has hardly a chance against the best is
       dropped (racing), with a stated probability of error.

    Several budgets share profile and process: a policy of one teaches about the others. The
    rounds take them in turn. Where the least cost at an accuracy floor is wanted, they bisect for
    the smallest budget at which the floor is reached.

    The process learns the Kullback-Leibler divergence from the uncut network where the recipe
    scores accuracy: it says more of an image than right or wrong. What wins is decided by the
    recipe's score alone.

    Source: SPDY's knapsack (Frantar and Alistarh, ICML 2022) as warm start; Thompson sampling
    (Russo et al., A Tutorial on Thompson Sampling, 2018) over exchange moves; the rest is ours.
    """

    def __init__(self, problem: SearchProblem, config: AutoConfig) -> None:
        """Plan the profile.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        space = problem.space
        self._problem, self.config = problem, config
        self._aims = create_aims(problem)
        self._ledger = TrialLedger()
        self._open = open_decisions(space, problem.budget.metric)
        self._profile = SensitivityProfile(space, self._profile_plan())
        self._surrogate = Surrogate()
        self._queue = [self._uniform(aim) for aim in self._aims.first]
        self._has_allocated = False
        self._asked: dict[int, Setting] = {}  # candidates in flight
        self._answers = Answers(space)
        self._rounds = 0
        self._spent = 0.0

    def _profile_plan(self) -> ProfilePlan:
        effort = self._problem.effort.evaluations * self.config.profile_share
        images = self.config.subset_images or self._problem.images
        plan = plan_profile(self._problem, effort, LEVELS, images)
        cost = len(plan.probes) * self._problem.evaluations(plan.images)
        # A plan that is still too dear, or has nothing to compare, is not begun.
        return plan if len(self._open) > 1 and cost <= 2 * effort else ProfilePlan((), plan.images)

    def ask(self) -> Suggestion:
        """Propose what to measure next."""
        if self._ledger.asked >= len(self._aims.first) and not self._profile.is_asked:
            return self._profile.ask(self._ledger)
        if not self._queue:
            self._queue = list(self._next_plans())
        return self._suggest(self._queue.pop(0))

    def _uniform(self, aim: Aim) -> _Plan:
        setting = self._problem.space.uniform(aim.budget)
        return _Plan(setting, None, f"uniform: the floor to beat{aim.words}")

    def _suggest(self, plan: _Plan) -> Suggestion:
        policy = self._problem.space.policy(plan.setting)
        suggestion = self._ledger.suggest(policy, plan.note, images=plan.images)
        self._asked[suggestion.number] = plan.setting
        return suggestion

    def tell(self, trial: Trial) -> None:
        """Take a trial; the surrogate learns from it at its next round."""
        self._ledger.settle(trial)
        self._spent += 1.0 if trial.measurement is None else trial.measurement.evaluations
        if self._profile.tell(trial):
            return
        setting = self._asked.pop(trial.number)
        if trial.measurement is None:
            self._answers.fail(setting)
            return
        learnt, is_part = self._learnt(trial.measurement), trial.measurement.fidelity == "subset"
        if math.isfinite(learnt):
            (self._answers.part if is_part else self._answers.whole)[setting] = learnt
        if not is_part:
            self._aims.tell(trial.measurement)

    def _learnt(self, measurement: Measurement) -> float:
        """Return what the surrogate learns of a measurement; higher is better."""
        signal = measurement.recipe.signal
        if signal == "accuracy" and measurement.kl is None:
            return measurement.score
        loss = measurement.kl if signal == "accuracy" else -measurement.score
        # Losses differ by factors.
        return -math.log(max(loss or 0.0, SMALLEST_KL))

    def _next_plans(self) -> Iterator[_Plan]:
        if not self._has_allocated:
            self._has_allocated = True
            yield from self._allocations(self._aims.first, MEASURES)
        aim = self._aims.next()
        self._rounds += 1
        rng = random_stream(self._problem.seed, self._rounds)
        if aim.is_new:
            yield from self._allocations([aim], MEASURES[-1:]) or [self._uniform(aim)]
        elif len(self._answers) < FEWEST_MEASUREMENTS:
            yield from self._first_draws(aim, rng)
        else:
            yield from self._round(aim, rng)

    def _allocations(self, aims: Sequence[Aim], measures: Sequence[Measure]) -> list[_Plan]:
        """Propose the knapsack's solutions on the profile's curves, those that differ."""
        found: dict[Setting, _Plan] = {}
        for aim in aims if self._profile.plan.probes else ():
            allocator = Allocator(self._problem.space, aim.budget)
            for measure in reversed(measures):
                setting = allocator.solve(self._profile.curves(measure))
                why = f"knapsack over the profile's {measure} curves{aim.words}"
                found.setdefault(setting, _Plan(setting, None, why))
        return list(found.values())

    def _first_draws(self, aim: Aim, rng: np.random.Generator) -> Iterator[_Plan]:
        """Propose policies around the best so far while there is little to learn from."""
        space, budget = self._problem.space, aim.budget
        bases = self._bases(budget, 1) or [space.uniform(budget)]
        drawn = [*Exchanges(space, budget).near(bases[0], rng, 8), space.sample(rng, budget)]
        new = [each for each in dict.fromkeys(drawn) if self._is_new(each)] or drawn
        for setting in new[:FEWEST_MEASUREMENTS]:
            yield _Plan(setting, self._screening_images(), "first draws for the surrogate")

    def _screening_images(self) -> int | None:
        """Return on how many images a policy is screened; None where that saves too little."""
        images = self.config.subset_images
        cost = self._problem.evaluations(images) / self._problem.evaluations()
        return images if images and cost < SMALLEST_SAVING else None

    def _round(self, aim: Aim, rng: np.random.Generator) -> Iterator[_Plan]:
        budget = aim.budget
        self._fit()
        images = self._screening_images()
        proposals = self._proposals(budget, rng)
        if not proposals:  # the space is exhausted; the store answers
            best = self._bases(budget, 1) or [self._problem.space.uniform(budget)]
            yield _Plan(best[0], None, f"every policy near the best is measured{aim.words}")
            return
        screened = self.config.screened if images is not None else 1
        for place in self._chosen(proposals, rng, screened):
            setting = Exchanges(self._problem.space, budget).filled(proposals[place], rng)
            yield _Plan(setting, images, self._why(aim, images))
        if images is not None:
            yield from self._promotion(aim)

    def _why(self, aim: Aim, images: int | None) -> str:
        on = "all" if images is None else f"{images}"
        return (
            f"promising to the surrogate of {len(self._answers)} measurements, "
            f"scored on {on} images{aim.words}"
        )

    def _fit(self) -> None:
        rows = self._answers.rows()
        self._surrogate.fit(
            self._inputs([setting for setting, _, _ in rows]),
            np.array([is_part for _, is_part, _ in rows]),
            np.array([y for _, _, y in rows]),
        )

    def _inputs(self, policies: Sequence[Setting]) -> np.ndarray:
        # Shares of bits, too: their number and powers of 1/2 predicted worse.
        shares = np.array([self._problem.space.shares(each) for each in policies])
        return np.log(shares[:, self._open])

    def _bases(self, budget: Budget, count: int) -> list[Setting]:
        """Return the best policies within a budget, as far as is known."""
        known = self._answers.within(budget)
        if known and len(self._answers) >= FEWEST_MEASUREMENTS:
            policies = list(known)
            means = self._surrogate.means(self._inputs(policies))
            return [policies[place] for place in np.argsort(-means, kind="stable")[:count]]
        return sorted(known, key=lambda each: -known[each])[:count]

    def _proposals(self, budget: Budget, rng: np.random.Generator) -> list[Setting]:
        space, exchanges = self._problem.space, Exchanges(self._problem.space, budget)
        drawn: dict[Setting, None] = {}
        for base in self._bases(budget, BASES):
            drawn |= dict.fromkeys(exchanges.near(base, rng, MOVES))
        drawn |= dict.fromkeys(space.sample(rng, budget) for _ in range(BASES))
        for _ in range(CLIMBS):  # on from the most promising of what was drawn
            new = [each for each in drawn if self._is_new(each)]
            means = self._surrogate.means(self._inputs(new)) if new else np.zeros(0)
            for place in np.argsort(-means, kind="stable")[: BASES // 2]:
                drawn |= dict.fromkeys(exchanges.near(new[place], rng, MOVES))
        return [each for each in drawn if self._is_new(each)]

    def _is_new(self, setting: Setting) -> bool:
        return setting not in self._answers and setting not in self._asked.values()

    def _chosen(
        self, proposals: Sequence[Setting], rng: np.random.Generator, count: int
    ) -> list[int]:
        """Pick the best proposal in each of `count` samples of the surrogate, all different.

        Towards the end of the effort the highest means are picked instead.
        """
        if self._spent > (1.0 - LAST_SHARE) * self._problem.effort.evaluations:
            means = self._surrogate.means(self._inputs(proposals))
            return [int(place) for place in np.argsort(-means, kind="stable")[:count]]
        samples = self._surrogate.sample(self._inputs(proposals), count, rng)
        picked: list[int] = []
        for values in samples:
            ranked = [place for place in np.argsort(-values, kind="stable") if place not in picked]
            picked += [int(place) for place in ranked[:1]]
        return picked

    def _promotion(self, aim: Aim) -> Iterator[_Plan]:
        """Propose the screened policy of the highest mean, if it may be better than the best."""
        budget = aim.budget
        in_flight = set(self._asked.values())
        waiting = [each for each in self._answers.waiting_within(budget) if each not in in_flight]
        whole = self._answers.whole_within(budget)
        if not waiting or not whole:
            return
        means, deviations = self._surrogate.predict(self._inputs(waiting))
        best = max(self._surrogate.means(self._inputs(whole)))
        place = int(np.argmax(means))
        chance = float(norm.sf(best, means[place], max(deviations[place], 1e-12)))
        if chance >= self.config.error_probability:
            why = f"screened well: better than the best with p = {chance:.2f}{aim.words}"
            yield _Plan(waiting[place], None, why)

    def snapshot(self) -> Snapshot:
        """Return everything measured, what is planned, and the surrogate's parameters."""
        values: dict[str, Any] = {
            "ledger": self._ledger.to_json(),
            "profile": self._profile.to_json(),
            "queue": [[list(each.setting), each.images, each.note] for each in self._queue],
            "has_allocated": self._has_allocated,
            "asked": [[number, list(setting)] for number, setting in self._asked.items()],
            "answers": self._answers.to_json(),
            "aims": self._aims.to_json(),
            "rounds": self._rounds,
            "spent": self._spent,
            "surrogate": self._surrogate.to_json(),
        }
        return Snapshot(values)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        values = snapshot.values
        self._ledger.restore(values["ledger"])
        self._profile.restore(values["profile"])
        self._queue = [_Plan(tuple(each), images, note) for each, images, note in values["queue"]]
        self._has_allocated = bool(values["has_allocated"])
        self._asked = {int(number): tuple(setting) for number, setting in values["asked"]}
        self._answers.restore(values["answers"])
        self._aims.restore(values["aims"])
        self._rounds, self._spent = int(values["rounds"]), float(values["spent"])
        self._surrogate.restore(values["surrogate"])
