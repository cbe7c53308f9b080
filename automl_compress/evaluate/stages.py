"""The pipeline of the MicroNet Challenge's winners: one kind of compression after the other.

Source: the CASIA/RIAIR entries to the MicroNet Challenge 2019 (CIFAR-100): prune, retrain with a
teacher, quantise activations, quantise weights, each with training behind it, then fold scale,
bias and normalisation into one scale and one bias of each channel. Their masks move during the
first iterations and their scales are fixed; here masks are fixed and scales are fitted anew.
"""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from torch import nn

from automl_compress.compress.input_grids import round_inputs
from automl_compress.compress.quantised_network import (
    input_grid,
    quantisation_rows,
    quantise_network,
)
from automl_compress.compress.quantisers import Grid
from automl_compress.core import LayerChoice, Measurement, Policy
from automl_compress.core.json_field import JsonField
from automl_compress.core.layer_rows import LayerQuantisation
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.evaluate.tuned_network import TunedNetwork, TunedScores
from automl_compress.evaluate.tuning import Tuning
from automl_compress.networks.surgery import with_tensors
from automl_compress.train.checkpoint import checkpoint_bytes, read_checkpoint
from automl_compress.train.pruning import prune
from automl_compress.train.straight_through import compressed_before

#: prune: the smallest weights become zero. distil: what is left learns from the uncut network.
#: activations: layer inputs go onto grids, then training. weights: these, too, then training.
#: fold: normalisations go into scales and biases, and the network is packed; no training.
Stage = Literal["prune", "distil", "activations", "weights", "fold"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class StageReport:
    """A finished stage.

    subject: the number of the trial whose network it is; None for the uncut one.
    measurement: on the search split, of the network as it computes behind this stage; its
        costs are those of the policy as far as it was carried out, with norms folded.
    wall_seconds: of the stage's work.
    logit_change: largest difference that folding made to a logit of a calibration batch, as a
        share of the largest of them, inputs not rounded; None of other stages.
    """

    subject: int | None
    stage: Stage
    measurement: Measurement
    wall_seconds: float
    logit_change: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "trial_number": self.subject,
            "stage": self.stage,
            "measurement": self.measurement.to_json(),
            "wall_seconds": self.wall_seconds,
            "logit_change": self.logit_change,
        }


class StageLog(Protocol):
    """Keeps finished stages, so that an interrupted pipeline goes on behind the last of them."""

    def latest(self, subject: int | None) -> tuple[Stage, Path] | None:
        """Return a subject's last stage that has a checkpoint, with its file; None without."""
        ...

    def keep(self, report: StageReport, checkpoint: bytes | None) -> None:
        """Keep a finished stage, report and checkpoint together; one that is kept stays.

        Args:
            report: of the stage.
            checkpoint: from which the next stage can go on; None behind the last one.
        """
        ...


class NoLog:
    """Forgets stages."""

    def latest(self, subject: int | None) -> tuple[Stage, Path] | None:
        """Know of none."""
        return None

    def keep(self, report: StageReport, checkpoint: bytes | None) -> None:
        """Keep nothing."""


def tune_in_stages(
    tuning: Tuning,
    scores: TunedScores,
    module: nn.Module,
    policy: Policy,
    subject: int | None = None,
    log: StageLog | None = None,
) -> TunedNetwork:
    """Carry a policy out stage by stage, measuring behind each on the search split.

    A network whose policy leaves layers alone is trained as often as the others, and alike.

    Args:
        tuning: how each stage trains.
        scores: measures.
        module: cut, with float weights; changed in place.
        policy: what becomes of layers.
        subject: the number of the policy's trial; None for the uncut network.
        log: where finished stages are kept, and found again.

    Raises:
        InvalidInput: the loss is no longer finite, or a checkpoint is something else.
        StorageFailed: the log did not take a stage.
    """
    return _Pipeline(tuning, scores, policy, subject, log or NoLog()).run(module)


@dataclass(frozen=True)
class _State:
    """A network between two stages: float weights, and grids of the inputs that it rounds."""

    module: nn.Module
    grids: Mapping[str, Grid]

    def to_bytes(self, choices: Mapping[str, LayerChoice]) -> bytes:
        rows = quantisation_rows({name: choices[name] for name in self.grids}, {}, self.grids)
        document = {name: row.to_json() for name, row in rows.items()}
        return checkpoint_bytes(self.module.state_dict(), document)

    @classmethod
    def read(cls, module: nn.Module, path: Path) -> "_State":
        tensors, document = read_checkpoint(path)
        rows = {
            name: LayerQuantisation.read(name, JsonField(row)) for name, row in document.items()
        }
        grids = {name: grid for name, row in rows.items() if (grid := input_grid(row)) is not None}
        return cls(with_tensors(module, tensors).eval(), grids)


class _Pipeline:
    """Carries out one policy."""

    def __init__(
        self,
        tuning: Tuning,
        scores: TunedScores,
        policy: Policy,
        subject: int | None,
        log: StageLog,
    ) -> None:
        self._tuning, self._scores, self._policy = tuning, scores, policy
        self._subject, self._log = subject, log
        self._choices = policy.layer_choices(tuning.network.graph)

    def run(self, module: nn.Module) -> TunedNetwork:
        state, todo = self._begin(module.eval())
        for stage in todo:
            self._tuning.go_on()
            began = time.perf_counter()
            state = self._after(stage, state)
            network = TunedNetwork(self._computing(stage, state))
            self._keep(stage, network, began, state.to_bytes(self._choices))
        began = time.perf_counter()
        network = self._tuning.quantised(state.module, self._choices, state.grids)
        self._keep("fold", network, began, None, self._logit_change(state))
        return network

    def _begin(self, module: nn.Module) -> tuple[_State, tuple[Stage, ...]]:
        """Return where to go on, and the stages that are left before the last."""
        kept = self._log.latest(self._subject)
        if kept is None:
            return _State(module, {}), STAGES[:-1]
        return _State.read(module, kept[1]), STAGES[STAGES.index(kept[0]) + 1 : -1]

    def _after(self, stage: Stage, state: _State) -> _State:
        if stage == "prune":
            self._prune(state)
            return state
        if stage == "activations":
            state = replace(state, grids=self._tuning.input_grids(state.module, self._choices))
        choices = _carried_out(self._choices, stage)
        self._tuning.train(state.module, choices, state.grids, STAGES.index(stage))
        state.module.eval()
        return state

    def _prune(self, state: _State) -> None:
        sparsities = {
            name: choice.sparsity for name, choice in self._choices.items() if choice.sparsity
        }
        prune(state.module, sparsities, self._tuning.network.plan.norm_after)

    def _computing(self, stage: Stage, state: _State) -> nn.Module:
        """Return a copy that computes as the network does behind a stage, norms unfolded."""
        twin, norms = copy.deepcopy(state.module), self._tuning.network.plan.norm_after
        for name, choice in _carried_out(self._choices, stage).items():
            if choice.weight_bits < FLOAT_BITS:
                layer: Any = twin.get_submodule(name)
                norm = twin.get_submodule(norms[name]) if name in norms else None
                with torch.no_grad():
                    layer.weight.copy_(compressed_before(layer.weight.detach(), norm, choice))
        round_inputs(twin, state.grids)
        return twin.eval()

    def _logit_change(self, state: _State) -> float:
        # Rounding of inputs would turn a change in the last bit into one of a whole step.
        before = self._computing("weights", replace(state, grids={}))
        norms = self._tuning.network.plan.norm_after
        after = quantise_network(state.module, self._choices, norms, {}).module
        images, _ = self._tuning.calibration[0]
        with torch.inference_mode():
            told, found = before(images), after(images)
        return float((found - told).abs().max() / told.abs().max().clamp_min(1e-12))

    def _keep(
        self,
        stage: Stage,
        network: TunedNetwork,
        began: float,
        checkpoint: bytes | None,
        logit_change: float | None = None,
    ) -> None:
        seconds = time.perf_counter() - began
        layers = tuple(_carried_out(self._choices, stage).values())
        policy = replace(self._policy, layers=layers)
        measurement = self._scores.measured(network, policy, "search")
        report = StageReport(self._subject, stage, measurement, seconds, logit_change)
        self._log.keep(report, checkpoint)


def _carried_out(choices: Mapping[str, LayerChoice], stage: Stage) -> dict[str, LayerChoice]:
    """Return what a stage and those before it make of layers; the untouched are left out."""
    later: dict[str, int] = {}
    if stage in ("prune", "distil"):
        later = {"weight_bits": FLOAT_BITS, "activation_bits": FLOAT_BITS}
    elif stage == "activations":
        later = {"weight_bits": FLOAT_BITS}
    done = {name: replace(choice, **later) for name, choice in choices.items()}
    return {name: choice for name, choice in done.items() if not choice.is_untouched}
