"""Confirming the best trials: cut, repair, fine-tune, and score once on the test split."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from automl_compress.compress.pruning_net import PruningNet
from automl_compress.core import Measurement, Policy, StudySpec, Trial
from automl_compress.core.errors import ModelInvalid
from automl_compress.costs import LatencyTable
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.repairing import Repairer
from automl_compress.evaluate.stages import StageLog, tune_in_stages
from automl_compress.evaluate.tuned_network import TunedNetwork, TunedScores
from automl_compress.evaluate.tuning import Tuning, tune_at_once
from automl_compress.networks import devices
from automl_compress.networks.trace import Network


@dataclass(frozen=True)
class Confirmed:
    """A trial that was confirmed.

    policy: with explicit channels. network: as it is handed out. measurement: on the test split,
    with the costs counted on the cut network and its packed file; it chooses nothing. search: on
    the search split, after tuning; it chooses among the confirmed.
    """

    trial: Trial
    policy: Policy
    network: TunedNetwork
    measurement: Measurement
    search: Measurement


@dataclass(frozen=True)
class UncutScores:
    """What the uncut network scores, tuned like the compressed ones.

    test: on the test split. search: on the search split, where a floor needs it; None elsewhere.
    """

    test: Measurement
    search: Measurement | None = None


class Confirmer:
    """Confirms trials of one study; the uncut network is tuned alike, so that drops are fair."""

    def __init__(
        self,
        network: Network,
        data: ImageData,
        study: StudySpec,
        go_on: Callable[[], None] = lambda: None,
        pruning_net: PruningNet | None = None,
        table: LatencyTable | None = None,
        stages: StageLog | None = None,
    ) -> None:
        """Prepare; a GPU tunes and scores where there is one.

        Args:
            network: traced.
            data: the train split tunes, the test split scores.
            study: says what is confirmed, and how the trials were scored.
            go_on: called often; what it raises ends the confirmation.
            pruning_net: gives the weights to begin with, where the study's recipe wants one.
            table: times on the study's target, where it has one.
            stages: keeps finished stages, where the study's confirmation goes by them.
        """
        self._network, self._study, self._stages = network, study, stages
        self._repairer = Repairer(network, data.split("train"), study.recipe, pruning_net)
        device = devices.fastest()
        self._scores = TunedScores(network, data, study.recipe, study.seed, table, device)
        calibration = self._repairer.calibration
        parts = study.confirmation, study.seed, calibration, go_on
        self._tuning = Tuning(network, data, *parts, device=device)

    @property
    def tuning(self) -> dict[str, Any]:
        """What tells one tuning from another; two of the same network agree in every bit."""
        return self._tuning.notes

    def baseline(self) -> Measurement:
        """Tune the uncut network like the compressed ones and score it on the test split."""
        return self.uncut_scores().test

    def uncut_scores(self) -> UncutScores:
        """Tune the uncut network like the compressed ones and score it."""
        untouched = Policy.from_widths(self._network.graph, self._network.graph.full_widths)
        network = self._tuned(copy.deepcopy(self._network.module), untouched, None)
        search = None
        if self._study.confirmation.recipe == "micronet":
            search = self._scores.measured(network, untouched, "search")
        return UncutScores(self._scores.measured(network, untouched, "test"), search)

    def finalists(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the trials to confirm: the best within each budget, by the study's goal.

        Each policy comes once. Larger budgets come first, of equal trials the earlier one. Behind
        those that reach an accuracy floor come those next below it, which tuning may lift over it.
        """
        found: dict[Policy, Trial] = {}
        measured = [
            (trial, trial.measurement)
            for trial in sorted(trials, key=lambda trial: trial.number)
            if trial.score is not None and trial.measurement is not None
        ]
        measured.sort(key=lambda each: self._study.goal.rank(each[1]), reverse=True)  # stable
        for budget in self._study.budgets:
            distinct: dict[Policy, Trial] = {}
            for trial, measurement in measured:
                if budget.allows(measurement.cost, self._scores.full):
                    distinct.setdefault(trial.policy, trial)
            best = list(distinct.items())[: self._study.confirmation.top_k]
            found |= {policy: trial for policy, trial in best if policy not in found}
        return list(found.values())

    def confirm(
        self, trial: Trial, keep: Callable[[TunedNetwork], None] = lambda network: None
    ) -> Confirmed:
        """Cut, repair, tune, quantise and score one trial's policy.

        Args:
            trial: of the study.
            keep: called with the tuned network before the test split scores it; what it raises
                leaves that unseen.

        Raises:
            ModelInvalid: the cut network costs more than the budget allows.
        """
        policy = self.explicit(trial.policy)
        network = self.compressed(policy, trial.number)
        keep(network)
        measurement = self._scores.measured(network, policy, "test")
        full = self._scores.full
        # Of several budgets the one that the search, which counts by formula, took it to meet.
        budget = self._study.tightest_budget(self._scores.counted(policy), full)
        if not budget.allows(measurement.cost, full):
            metric = budget.metric
            raise ModelInvalid(
                f"the cut network of trial {trial.number} has {measurement.cost.of(metric):,} "
                f"{metric} when counted, the budget allows {budget.limit(full):,}; "
                "it is not returned: report this network, its costs are counted wrongly"
            )
        search = self._scores.measured(network, policy, "search")
        return Confirmed(trial, policy, network, measurement, search)

    def explicit(self, policy: Policy) -> Policy:
        """Return a policy with its channels written out."""
        return self._repairer.explicit(policy)

    def compressed(self, policy: Policy, number: int = 0) -> TunedNetwork:
        """Cut, repair, tune and quantise; nothing is scored on the test split.

        Args:
            policy: with explicit channels.
            number: of its trial, for the stages.
        """
        return self._tuned(self._repairer.repaired_network(policy), policy, number)

    def _tuned(self, module: nn.Module, policy: Policy, number: int | None) -> TunedNetwork:
        if self._study.confirmation.recipe == "at_once":
            return tune_at_once(self._tuning, module, policy)
        parts = self._tuning, self._scores, module, policy, number, self._stages
        return tune_in_stages(*parts)
