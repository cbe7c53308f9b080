"""Optuna's samplers behind ask and tell: studies in memory, proposals kept to the budget."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from automl_agents.ledger import TrialLedger
from automl_agents.optuna_search.config import BudgetHandling
from automl_agents.optuna_search.keep_ratios import KeepRatios
from automl_agents.optuna_search.quiet import quiet
from automl_agents.random_stream import random_stream
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial

CreateSampler = Callable[[int], BaseSampler]

DRAWING, VARYING = 0, 1  # what a random stream is for
VARIATIONS = 20  # tried before a policy is asked a second time
VARIATION = 0.01  # of a keep ratio, more with each try
OVER_BUDGET_SCORE = 0.0  # told with a violated constraint; samplers rank those by the violation
# What samplers note for other processes while a trial runs; its parameters say the same.
SHARED_WITH_OTHERS = ("tpe:", "gp:")


class OptunaSearcher:
    """Proposes what an Optuna sampler draws, kept to the budget.

    - Parameters are the keep ratios of the groups that have a choice.
    - A proposal is scaled to the budget, in both directions: the best policy under a budget is
      at it. Optuna learns of the policy that was measured, not of the one that it drew.
    - A policy that was asked before is varied until it is new: a repetition costs an
      evaluation and tells nothing.
    - Every draw comes from a new sampler with a seed of its own, so that all that a snapshot
      must hold are the study's trials.
    """

    def __init__(
        self,
        problem: SearchProblem,
        create_sampler: CreateSampler,
        *,
        budget_handling: BudgetHandling = "repair",
        draws: int = 1,
        keeps_scale: bool = False,
        seeds: Sequence[Sequence[int]] = (),
    ) -> None:
        """Open the study.

        Args:
            problem: where to search.
            create_sampler: makes the sampler of one draw from its seed; what it knows, it
                takes from the study.
            budget_handling: see `TpeConfig`.
            draws: see `TpeConfig`.
            keeps_scale: whether Optuna is told the measured ratios at the scale of the drawn
                ones. A model of all ratios needs that: told of policies at the budget alone, it
                expects most from where none was measured, and is scaled back every time.
            seeds: widths within the budget to ask first, after the uniform policy.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        self._problem, self._create_sampler = problem, create_sampler
        self._handling: BudgetHandling = budget_handling
        self._draws = draws if budget_handling == "constraint" else 1
        self._keeps_scale = keeps_scale
        self._ratios = KeepRatios(problem.space)
        self._ledger = TrialLedger()
        self._asked: dict[tuple[int, ...], None] = {}  # widths, in the order of the asks
        self._waiting: dict[int, int] = {}  # number of a suggestion to that of its Optuna trial
        self._open_study()
        uniform = problem.space.uniform(problem.budget)
        first = dict.fromkeys((uniform, *(tuple(widths) for widths in seeds)))
        self._seeds = len(first)
        for widths in first:
            self._study.enqueue_trial(self._ratios.of_widths(widths))

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        number = self._ledger.asked
        with quiet():
            trial, widths, note = self._draw(number)
        widths = self._unlike_before(number, widths)
        if self._handling == "constraint":
            trial.set_constraint("budget", self._excess(widths))
        self._replace_parameters(trial, widths)
        self._asked[widths] = None
        self._waiting[number] = trial.number
        return self._ledger.suggest(self._problem.space.policy(widths), note)

    def tell(self, trial: Trial) -> None:
        """Tell Optuna the score; a failed trial teaches nothing.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._ledger.settle(trial)
        number, measured = self._waiting.pop(trial.number), trial.measurement
        if measured is None or not math.isfinite(measured.score):
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, measured.score)

    def _draw(self, number: int) -> tuple[optuna.Trial, tuple[int, ...], str]:
        """Draw until a proposal can be asked, or scale the last one to the budget."""
        space, over = self._problem.space, 0
        while True:
            trial = self._ask_optuna(number, over)
            keep = self._ratios.of_all_groups(trial.params)
            if trial.number < self._seeds:
                return trial, space.clip(keep), "uniform policy" if not number else "given seed"
            widths = space.clip(keep)
            if self._handling == "constraint" and self._excess(widths) <= 0.0:
                return trial, widths, f"within the budget after {over} that were not"
            if over + 1 >= self._draws:
                return trial, space.project(keep, self._problem.budget), "scaled to the budget"
            trial.set_constraint("budget", self._excess(widths))
            self._study.tell(trial, OVER_BUDGET_SCORE)
            over += 1

    def _replace_parameters(self, trial: optuna.Trial, widths: tuple[int, ...]) -> None:
        """Give the trial the ratios that are measured; other asks see it running with them."""
        place = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
        measured, drawn = self._ratios.of_widths(widths), trial.params
        scale = 1.0
        if self._keeps_scale and drawn:
            scale = math.hypot(*drawn.values()) / math.hypot(*measured.values())
        for name, ratio in measured.items():
            limits = self._ratios.distributions[name]
            value = min(max(scale * ratio, limits.low), limits.high)
            self._storage.set_trial_param(place, name, value, limits)

    def _excess(self, widths: Sequence[int]) -> float:
        """Return by which share of the budget these widths are over it; not above 0 within."""
        space, budget = self._problem.space, self._problem.budget
        return space.costs.cost(widths).of(budget.metric) / budget.limit(space.full) - 1.0

    def _ask_optuna(self, number: int, draw: int) -> optuna.Trial:
        rng = random_stream(self._problem.seed, DRAWING, number, draw)
        self._study.sampler = self._create_sampler(int(rng.integers(2**31)))
        trial = self._study.ask()
        # Drawn also where a seed fixes the values: samplers put the trial into its generation.
        _ = trial.relative_params
        for name, distribution in self._ratios.distributions.items():
            trial.suggest_float(name, distribution.low, distribution.high)
        return trial

    def _unlike_before(self, number: int, widths: tuple[int, ...]) -> tuple[int, ...]:
        """Return these widths, or others near them where they were asked already."""
        space, rng = self._problem.space, random_stream(self._problem.seed, VARYING, number)
        for attempt in range(VARIATIONS):
            if widths not in self._asked:
                break
            keep = np.asarray(widths) / space.graph.full_widths
            keep = keep + rng.normal(0.0, VARIATION * (attempt + 1), len(keep))
            widths = space.project(keep.tolist(), self._problem.budget)
        return widths

    def snapshot(self) -> Snapshot:
        """Return the study's trials and the counts."""
        trials = self._study.get_trials(deepcopy=False)
        names = list(self._ratios.distributions)
        missing = float("nan")
        values = {
            "ledger": self._ledger.to_json(),
            "waiting": sorted(self._waiting.items()),
            "study": dict(self._storage.get_study_system_attrs(self._study_id)),
            "states": [trial.state.name for trial in trials],
            "attributes": [_attributes(trial) for trial in trials],
        }
        ratios = [[trial.params.get(name, missing) for name in names] for trial in trials]
        arrays = {
            "ratios": np.array(ratios, dtype=np.float64).reshape(len(trials), len(names)),
            "scores": np.array(
                [missing if trial.value is None else trial.value for trial in trials],
                dtype=np.float64,
            ),
            "asked": np.array(list(self._asked), dtype=np.int64).reshape(
                len(self._asked), len(self._problem.space.allowed)
            ),
        }
        return Snapshot(values, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Open the study again with the trials that a snapshot holds."""
        values, arrays = snapshot.values, snapshot.arrays
        self._ledger.restore(values["ledger"])
        self._waiting = {int(number): int(place) for number, place in values["waiting"]}
        self._asked = {tuple(widths): None for widths in arrays["asked"].tolist()}
        self._open_study()
        for key, value in values["study"].items():
            self._storage.set_study_system_attr(self._study_id, key, value)
        for state, attributes, ratios, score in zip(
            values["states"],
            values["attributes"],
            arrays["ratios"].tolist(),
            arrays["scores"].tolist(),
            strict=True,
        ):
            self._study.add_trial(self._restored_trial(state, attributes, ratios, score))

    def _restored_trial(
        self, state: str, attributes: Mapping[str, Any], ratios: Sequence[float], score: float
    ) -> FrozenTrial:
        is_waiting = state == TrialState.WAITING.name
        distributions = {} if is_waiting else self._ratios.distributions
        return create_trial(
            state=TrialState[state],
            value=None if math.isnan(score) else score,
            params={} if is_waiting else dict(zip(distributions, ratios, strict=True)),
            distributions=distributions,  # type: ignore[arg-type]
            system_attrs=dict(attributes),
        )

    def _open_study(self) -> None:
        self._storage = InMemoryStorage()
        with quiet():
            self._study = optuna.create_study(
                storage=self._storage,
                sampler=self._create_sampler(0),
                study_name="search",
                direction="maximize",
            )
        self._study_id = self._storage.get_study_id_from_name("search")


def _attributes(trial: FrozenTrial) -> dict[str, Any]:
    return {
        key: value
        for key, value in trial.system_attrs.items()
        if not key.startswith(SHARED_WITH_OTHERS)
    }
