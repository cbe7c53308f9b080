"""Confirming the best trials: cut, repair, fine-tune, and score once on the test split."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.packing.packed_network import packed_bytes
from automl_compress.compress.pruning_net import PruningNet
from automl_compress.compress.quantised_network import quantisation_rows, quantise_network
from automl_compress.compress.quantisers import Grid
from automl_compress.core import Budget, Cost, LayerChoice, Measurement, Policy, StudySpec, Trial
from automl_compress.core.errors import ModelInvalid
from automl_compress.core.layer_rows import LayerQuantisation
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.costs import LatencyTable, PolicyCosts
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.repairing import Repairer
from automl_compress.networks.trace import Network
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.quantised_training import train_quantised

FINETUNE_LEARNING_RATE = 0.01  # a tenth of training from scratch: the weights are nearly right


@dataclass(frozen=True)
class Confirmed:
    """A trial that was confirmed.

    policy: with explicit channels. network: as it is handed out. measurement: on the test split,
    with the costs counted on the cut network and its packed file; it chooses nothing. search: on
    the search split, after tuning; it chooses among the confirmed.
    """

    trial: Trial
    policy: Policy
    network: "TunedNetwork"
    measurement: Measurement
    search: Measurement


@dataclass(frozen=True)
class TunedNetwork:
    """A compressed network in evaluation mode.

    quantisation: by layer; empty where all layers stay float, and `packed` is None then: the
    bytes of its packed file.
    """

    module: nn.Module
    quantisation: Mapping[str, LayerQuantisation] = field(
        default_factory=dict[str, LayerQuantisation]
    )
    packed: bytes | None = None


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
    ) -> None:
        """Prepare.

        Args:
            network: traced.
            data: the train split tunes, the test split scores.
            study: says what is confirmed, and how the trials were scored.
            go_on: called often; what it raises ends the confirmation.
            pruning_net: gives the weights to begin with, where the study's recipe wants one.
            table: times on the study's target, where it has one.
        """
        self._network, self._data, self._study, self._go_on = network, data, study, go_on
        self._repairer = Repairer(network, data.split("train"), study.recipe, pruning_net)
        self._costs = PolicyCosts(network.graph, table)
        self._full = self._costs.full
        told = study.confirmation
        self._distillation = (
            Distillation(
                told.distillation_temperature,
                told.distillation_weight,
                told.distillation_direction,
            )
            if told.distillation_weight
            else None
        )

    @property
    def tuning(self) -> dict[str, Any]:
        """What tells one tuning from another; two of the same network agree in every bit."""
        epochs = self._study.confirmation.finetune_epochs
        if not epochs:
            return {"epochs": 0}
        return {
            "epochs": epochs,
            "learning_rate": FINETUNE_LEARNING_RATE,
            "seed": self._study.seed,
            **self._distillation_notes,
        }

    @property
    def _distillation_notes(self) -> dict[str, Any]:
        return {} if self._distillation is None else {"distillation": asdict(self._distillation)}

    def baseline(self) -> Measurement:
        """Tune the uncut network like the compressed ones and score it on the test split."""
        untouched = Policy.from_widths(self._network.graph, self._network.graph.full_widths)
        return self._measured(
            self._tuned(copy.deepcopy(self._network.module), untouched), untouched, "test"
        )

    def finalists(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the trials to confirm: those of highest score within each budget.

        Each policy comes once. Larger budgets come first, of equal scores the earlier trial.
        """
        found: dict[Policy, Trial] = {}
        for budget in self._study.budgets:
            within = [trial for trial in trials if self._competes(trial, budget)]
            within.sort(key=lambda trial: (-(trial.score or 0.0), trial.number))
            distinct: dict[Policy, Trial] = {}
            for trial in within:
                distinct.setdefault(trial.policy, trial)
            best = list(distinct.items())[: self._study.confirmation.top_k]
            found |= {policy: trial for policy, trial in best if policy not in found}
        return list(found.values())

    def _competes(self, trial: Trial, budget: Budget) -> bool:
        measured = trial.measurement
        if trial.score is None or measured is None:
            return False
        return budget.allows(measured.cost, self._full)

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
        policy = self._repairer.explicit(trial.policy)
        network = self.compressed(policy)
        keep(network)
        measurement = self._measured(network, policy, "test")
        full = self._full
        # Of several budgets the one that the search, which counts by formula, took it to meet.
        budget = self._study.tightest_budget(self._costs.cost(policy), self._full)
        if not budget.allows(measurement.cost, full):
            metric = budget.metric
            raise ModelInvalid(
                f"the cut network of trial {trial.number} has {measurement.cost.of(metric):,} "
                f"{metric} when counted, the budget allows {budget.limit(full):,}; "
                "it is not returned: report this network, its costs are counted wrongly"
            )
        search = self._measured(network, policy, "search")
        return Confirmed(trial, policy, network, measurement, search)

    def compressed(self, policy: Policy) -> TunedNetwork:
        """Cut, repair, tune and quantise; nothing is scored."""
        return self._tuned(self._repairer.repaired_network(policy), policy)

    def _tuned(self, module: nn.Module, policy: Policy) -> TunedNetwork:
        epochs, norms = self._study.confirmation.finetune_epochs, self._network.plan.norm_after
        choices = policy.layer_choices(self._network.graph)
        self._go_on()
        grids = self._input_grids(module, choices)
        if epochs:
            config = TrainingConfig(
                epochs=epochs, learning_rate=FINETUNE_LEARNING_RATE, seed=self._study.seed
            )
            parts = module, choices, grids, norms, self._data, config
            train_quantised(
                *parts,
                teacher=None if self._distillation is None else self._network.module,
                distillation=self._distillation,
                progress=lambda _: self._go_on(),
            )
        # One memory layout, so that the stored network gives the same bits as this one.
        module = module.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if not choices:
            return TunedNetwork(module)
        quantised = quantise_network(module, choices, norms, grids)
        rows = quantisation_rows(choices, quantised.folded, grids)
        return TunedNetwork(quantised.module, rows, packed_bytes(quantised))

    def _input_grids(
        self, module: nn.Module, choices: Mapping[str, LayerChoice]
    ) -> dict[str, Grid]:
        """Calibrate what reaches the layers of the cut network whose inputs are quantised."""
        rounded = [name for name, choice in choices.items() if choice.rounds_inputs]
        grids = InputGrids(module.eval(), rounded, self._repairer.calibration)
        return {name: grids.of(name, choices[name].activation_bits) for name in rounded}

    def _measured(self, network: TunedNetwork, policy: Policy, name: str) -> Measurement:
        wall, cpu = time.perf_counter(), time.process_time()
        split = self._data.split(name)
        correct, total = evaluate_accuracy(network.module, split)
        return Measurement(
            cost=self._cost(network, policy),
            score=correct / total,
            correct=correct,
            total=total,
            cross_entropy=None,
            kl=None,
            split=f"{name}: {split.provenance}",
            fidelity="confirmed",
            recipe=replace(self._study.recipe, backend="torch"),
            seed=self._study.seed,
            evaluations=0.0,
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
        )

    def _cost(self, network: TunedNetwork, policy: Policy) -> Cost:
        counted = count_cost(network.module, self._network.graph.input_shape)
        told = self._costs.cost(policy)
        counted = replace(counted, micronet=told.micronet, latency_ns=told.latency_ns)
        if network.packed is None:
            return counted
        # Which bits multiply which is the policy's, not to be seen in a module of floats.
        return replace(counted, size_bytes=len(network.packed), bit_operations=told.bit_operations)


def count_cost(module: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Count a network's cost on the network itself, independently of the analytic model.

    Its MicroNet score and its latency are left at 0: they need a graph.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(torch.zeros(1, *input_shape))
    return Cost(
        macs=counter.get_total_flops() // 2,  # the counter counts multiplies and adds
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        size_bytes=sum(
            tensor.numel() * tensor.element_size() for tensor in module.state_dict().values()
        ),
        bit_operations=counter.get_total_flops() // 2 * FLOAT_BITS * FLOAT_BITS,
    )
