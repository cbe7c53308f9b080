"""`auto`: a sensitivity profile, a knapsack, and a surrogate that measured errors correct."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from automl_agents.allocation.knapsack import Allocator
from automl_agents.allocation.profile import MEASURES, Measure, SensitivityProfile
from automl_agents.auto.aims import Aim, create_aims
from automl_agents.auto.answers import Answers
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.exchange import Setting
from automl_agents.auto.filters import FilterExchanges
from automl_agents.auto.opening import opening_profile
from automl_agents.auto.plan import Plan
from automl_agents.auto.rounds import SurrogateRounds
from automl_agents.auto.subspaces import SubspaceRace
from automl_agents.decisions import open_decisions
from automl_agents.ledger import TrialLedger
from automl_agents.random_stream import random_stream
from automl_compress.core import (
    CompressionSpace,
    Measurement,
    SearchProblem,
    Snapshot,
    Suggestion,
    Trial,
)

EXCHANGE_WEIGHT = 1 / 15  # of an exchange of filters, in rounds
LAST_SHARE = 0.2  # of the rounds' effort, in which nothing is explored any more
SMALLEST_KL = 1e-6  # nats; the logarithm of an untouched network's is minus infinity


class AutoSearcher:
    """Spends an effort the way that won our own comparison.

    1. The uniform policy, scored on all images; a profile: a few values of each decision alone,
       on a subset of the images.
    2. The profile's losses go through an exact knapsack; its solutions are scored on all images.
       Where layers decide on bits, or on single weights beside channels, parts of the space are
       compared instead: one bit-width for all layers, channels or single weights removed or both.
       The first rounds stay in the part that leads.
    3. From then on in rounds: a Gaussian process over the decisions learns from every candidate
       measured; exchange moves from the best policies, and a few random ones, are drawn; those
       that a sample of the process thinks best are screened on a subset, and the one of the
       highest mean is scored on all images. What has hardly a chance against the best is
       dropped (racing), with a stated probability of error.
    4. What is left, half of the effort where widths need no more, goes to the filters that the
       best policy keeps: some are exchanged for removed ones, screened, and followed where all
       images score them better.

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
        self._answers = Answers(space)
        self._race = SubspaceRace(problem, config, self._answers)
        counted = open_decisions(space, problem.budget.metric)
        widths = [place for place in counted if space.decisions[place].kind == "width"]
        self._least_for_widths = config.width_evaluations * len(widths)
        plan, left_out = opening_profile(problem, config, len(counted), self._race)
        self._profile = SensitivityProfile(space, plan)
        first, *others = (self._uniform(aim, space) for aim in self._aims.first)
        self._queue = [replace(first, note=first.note + left_out), *others]
        self._queue += self._race.plans(self._aims.first)
        self._has_allocated = False
        self._asked: dict[int, Plan] = {}  # candidates in flight
        self._surrogate_rounds = SurrogateRounds(problem, config, self._answers)
        self._filters = FilterExchanges(problem, config, self._answers)
        self._rounds = 0
        self._spent = 0.0

    def ask(self) -> Suggestion:
        """Propose what to measure next."""
        if self._ledger.asked >= len(self._aims.first) and not self._profile.is_asked:
            return self._profile.ask(self._ledger)
        if not self._queue:
            self._queue = list(self._next_plans())
        return self._suggest(self._queue.pop(0))

    def _uniform(self, aim: Aim, space: CompressionSpace) -> Plan:
        setting = space.uniform(aim.budget)
        return Plan(setting, None, f"uniform: the floor to beat{aim.words}")

    def _suggest(self, plan: Plan) -> Suggestion:
        policy = self._filters.applied(self._problem.space.policy(plan.setting), plan)
        suggestion = self._ledger.suggest(policy, plan.note, images=plan.images)
        self._asked[suggestion.number] = plan
        return suggestion

    def tell(self, trial: Trial) -> None:
        """Take a trial; the surrogate learns from it at its next round."""
        self._ledger.settle(trial)
        self._spent += 1.0 if trial.measurement is None else trial.measurement.evaluations
        if self._profile.tell(trial):
            return
        plan, measured = self._asked.pop(trial.number), trial.measurement
        learnt = None if measured is None else self._learnt(measured)
        if learnt is not None and not math.isfinite(learnt):
            learnt = None  # of a network whose outputs are no numbers
        if plan.filters is not None:
            self._filters.tell(plan, learnt)
        elif learnt is None:
            self._answers.fail(plan.setting)
        else:
            scores = self._answers.whole if plan.images is None else self._answers.part
            scores[plan.setting] = learnt
        if measured is not None and measured.fidelity != "subset":
            self._aims.tell(measured)
            floor = self._problem.accuracy_floor
            if floor is not None and measured.accuracy >= floor:
                self._filters.reach(plan, measured.cost.of(self._problem.budget.metric))

    def _learnt(self, measurement: Measurement) -> float:
        """Return what the surrogate learns of a measurement; higher is better."""
        signal = measurement.recipe.signal
        if signal == "accuracy" and measurement.kl is None:
            return measurement.score
        loss = measurement.kl if signal == "accuracy" else -measurement.score
        # Losses differ by factors.
        return -math.log(max(loss or 0.0, SMALLEST_KL))

    def _next_plans(self) -> Iterator[Plan]:
        if not self._has_allocated:
            self._has_allocated = True
            yield from self._allocations(self._aims.first, MEASURES)
            yield from self._leaders()
        effort = self._effort_of_rounds
        is_exchanging = self._filters.can_gain and self._spent >= effort
        aim = self._aims.next(EXCHANGE_WEIGHT if is_exchanging else 1.0)
        self._rounds += 1
        rng = random_stream(self._problem.seed, self._rounds)
        exchanges = list(self._filters.plans(aim, rng)) if is_exchanging else []
        part = self._race.leader(aim.budget)
        if exchanges:
            yield from exchanges
        elif aim.is_new:
            space = self._problem.space if part is None else part.space
            yield from self._allocations([aim], MEASURES[-1:]) or [self._uniform(aim, space)]
        else:
            is_narrow = self._spent < self._narrow_effort
            space = part.space if part is not None and is_narrow else self._problem.space
            in_flight = {plan.setting for plan in self._asked.values()}
            is_late = self._spent > (1.0 - LAST_SHARE) * effort
            rounds = self._surrogate_rounds
            yield from rounds.plans(aim, space, rng, in_flight, is_late=is_late)

    @property
    def _narrow_effort(self) -> float:
        """How much is spent until the rounds leave the leading part of the space."""
        share = self.config.narrow_share if self._race.is_run else 0.0
        return share * self._problem.effort.evaluations

    @property
    def _effort_of_rounds(self) -> float:
        """How much is spent until filters are exchanged."""
        effort, narrow = self._problem.effort.evaluations, self._narrow_effort
        if not self._filters.can_gain:
            return effort
        shared = narrow + (1.0 - self.config.filter_share) * (effort - narrow)
        return max(shared, self._least_for_widths)

    def _leaders(self) -> Iterator[Plan]:
        """Propose the uniform policy of each budget's leading part, on all images."""
        for aim in self._aims.first:
            part = self._race.leader(aim.budget)
            if part is not None:
                why = f"leads on the subset: {part.words}{aim.words}"
                yield Plan(part.space.uniform(aim.budget), None, why)

    def _allocations(self, aims: Sequence[Aim], measures: Sequence[Measure]) -> list[Plan]:
        """Propose the knapsack's solutions on the profile's curves, those that differ."""
        found: dict[Setting, Plan] = {}
        for aim in aims if self._profile.plan.probes else ():
            allocator = Allocator(self._problem.space, aim.budget)
            for measure in reversed(measures):
                setting = allocator.solve(self._profile.curves(measure))
                why = f"knapsack over the profile's {measure} curves{aim.words}"
                found.setdefault(setting, Plan(setting, None, why))
        return list(found.values())

    def snapshot(self) -> Snapshot:
        """Return everything measured, what is planned, and the surrogate's parameters."""
        values: dict[str, Any] = {
            "ledger": self._ledger.to_json(),
            "profile": self._profile.to_json(),
            "queue": [plan.to_json() for plan in self._queue],
            "has_allocated": self._has_allocated,
            "asked": [[number, plan.to_json()] for number, plan in self._asked.items()],
            "answers": self._answers.to_json(),
            "aims": self._aims.to_json(),
            "rounds": self._rounds,
            "spent": self._spent,
            "surrogate": self._surrogate_rounds.to_json(),
            "filters": self._filters.to_json(),
        }
        return Snapshot(values)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        values = snapshot.values
        self._ledger.restore(values["ledger"])
        self._profile.restore(values["profile"])
        self._queue = [Plan.from_json(plan) for plan in values["queue"]]
        self._has_allocated = bool(values["has_allocated"])
        self._asked = {int(number): Plan.from_json(plan) for number, plan in values["asked"]}
        self._answers.restore(values["answers"])
        self._aims.restore(values["aims"])
        self._rounds, self._spent = int(values["rounds"]), float(values["spent"])
        self._surrogate_rounds.restore(values["surrogate"])
        self._filters.restore(values["filters"])
