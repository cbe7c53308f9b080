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
from automl_agents.optuna_search.parameters import Parameters
from automl_agents.optuna_search.quiet import quiet
from automl_agents.random_stream import random_stream
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial

CreateSampler = Callable[[int], BaseSampler]

DRAWING, VARYING = 0, 1  # what a random stream is for
VARIATIONS = 20  # tried before a policy is asked a second time
VARIATION = 0.01  # of a share, more with each try
OVER_BUDGET_SCORE = 0.0  # told with a violated constraint; samplers rank those by the violation
# What samplers note for other processes while a trial runs; its parameters say the same.
SHARED_WITH_OTHERS = ("tpe:", "gp:")


class OptunaSearcher:
    """Proposes what an Optuna sampler draws, kept to the budget.

    - Parameters are the decisions that have a choice which the budget counts.
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
            keeps_scale: whether Optuna is told the measured shares at the scale of the drawn
                ones. A model of all shares needs that: told of policies at the budget alone, it
                expects most from where none was measured, and is scaled back every time.
            seeds: settings within the budget to ask first, after the uniform policy.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        self._problem, self._create_sampler = problem, create_sampler
        self._handling: BudgetHandling = budget_handling
        self._draws = draws if budget_handling == "constraint" else 1
        self._keeps_scale = keeps_scale
        self._parameters = Parameters(problem.space, problem.budget.metric)
        self._ledger = TrialLedger()
        self._asked: dict[tuple[int, ...], None] = {}  # settings, in the order of the asks
        self._waiting: dict[int, int] = {}  # number of a suggestion to that of its Optuna trial
        self._open_study()
        uniform = problem.space.uniform(problem.budget)
        first = dict.fromkeys((uniform, *(tuple(setting) for setting in seeds)))
        self._seeds = len(first)
        for setting in first:
            self._study.enqueue_trial(self._parameters.of_setting(setting))

    def ask(self) -> Suggestion:
        """Propose the next policy."""
        number = self._ledger.asked
        with quiet():
            trial, setting, note = self._draw(number)
        setting = self._unlike_before(number, setting)
        if self._handling == "constraint":
            trial.set_constraint("budget", self._excess(setting))
        self._replace_parameters(trial, setting)
        self._asked[setting] = None
        self._waiting[number] = trial.number
        return self._ledger.suggest(self._problem.space.policy(setting), note)

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
            shares = self._parameters.shares(trial.params)
            if trial.number < self._seeds:
                return trial, space.clip(shares), "uniform policy" if not number else "given seed"
            setting = space.clip(shares)
            if self._handling == "constraint" and self._excess(setting) <= 0.0:
                return trial, setting, f"within the budget after {over} that were not"
            if over + 1 >= self._draws:
                return trial, space.project(shares, self._problem.budget), "scaled to the budget"
            trial.set_constraint("budget", self._excess(setting))
            self._study.tell(trial, OVER_BUDGET_SCORE)
            over += 1

    def _replace_parameters(self, trial: optuna.Trial, setting: tuple[int, ...]) -> None:
        """Give the trial the values that are measured; other asks see it running with them."""
        place = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
        measured = self._parameters.of_setting(setting)
        if self._keeps_scale:
            measured = self._parameters.rescaled(measured, trial.params)
        for name, value in measured.items():
            limits = self._parameters.distributions[name]
            self._storage.set_trial_param(place, name, float(value), limits)

    def _excess(self, setting: Sequence[int]) -> float:
        """Return by which share of the budget a setting is over it; not above 0 within."""
        space, budget = self._problem.space, self._problem.budget
        return space.costs.cost(setting).of(budget.metric) / budget.limit(space.full) - 1.0

    def _ask_optuna(self, number: int, draw: int) -> optuna.Trial:
        rng = random_stream(self._problem.seed, DRAWING, number, draw)
        self._study.sampler = self._create_sampler(int(rng.integers(2**31)))
        trial = self._study.ask()
        # Drawn also where a seed fixes the values: samplers put the trial into its generation.
        _ = trial.relative_params
        self._parameters.suggest(trial)
        return trial

    def _unlike_before(self, number: int, setting: tuple[int, ...]) -> tuple[int, ...]:
        """Return this setting, or another one near it where it was asked already."""
        space, rng = self._problem.space, random_stream(self._problem.seed, VARYING, number)
        for attempt in range(VARIATIONS):
            if setting not in self._asked:
                break
            shares = space.shares(setting)
            shares = shares + rng.normal(0.0, VARIATION * (attempt + 1), len(shares))
            setting = space.project(shares.tolist(), self._problem.budget)
        return setting

    def snapshot(self) -> Snapshot:
        """Return the study's trials and the counts."""
        trials = self._study.get_trials(deepcopy=False)
        names = list(self._parameters.distributions)
        missing = float("nan")
        values = {
            "ledger": self._ledger.to_json(),
            "waiting": sorted(self._waiting.items()),
            "study": dict(self._storage.get_study_system_attrs(self._study_id)),
            "states": [trial.state.name for trial in trials],
            "attributes": [_attributes(trial) for trial in trials],
        }
        numbers = [[trial.params.get(name, missing) for name in names] for trial in trials]
        arrays = {
            "parameters": np.array(numbers, dtype=np.float64).reshape(len(trials), len(names)),
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
        self._asked = {tuple(setting): None for setting in arrays["asked"].tolist()}
        self._open_study()
        for key, value in values["study"].items():
            self._storage.set_study_system_attr(self._study_id, key, value)
        for state, attributes, numbers, score in zip(
            values["states"],
            values["attributes"],
            arrays["parameters"].tolist(),
            arrays["scores"].tolist(),
            strict=True,
        ):
            self._study.add_trial(self._restored_trial(state, attributes, numbers, score))

    def _restored_trial(
        self, state: str, attributes: Mapping[str, Any], numbers: Sequence[float], score: float
    ) -> FrozenTrial:
        is_waiting = state == TrialState.WAITING.name
        distributions = {} if is_waiting else self._parameters.distributions
        return create_trial(
            state=TrialState[state],
            value=None if math.isnan(score) else score,
            params={} if is_waiting else self._parameters.of_numbers(numbers),
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
