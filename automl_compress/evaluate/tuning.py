"""Fine-tuning of a cut network, and its quantisation at the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.packing.packed_network import packed_bytes
from automl_compress.compress.quantised_network import quantisation_rows, quantise_network
from automl_compress.compress.quantisers import Grid
from automl_compress.core import Confirmation, LayerChoice, Policy
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.tuned_network import TunedNetwork
from automl_compress.networks import devices
from automl_compress.networks.trace import Network
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.quantised_training import QuantisedTraining, train_quantised

FINETUNE_LEARNING_RATE = 0.01  # a tenth of training from scratch: the weights are nearly right


@dataclass(frozen=True)
class Tuning:
    """How cut networks of one uncut network are trained on, and on what.

    network: uncut, traced; the teacher where the confirmation wants one.
    data: the train split tunes.
    seed: decides the order of the images, and their augmentation.
    calibration: labelled batches, on which grids of layer inputs are fitted.
    go_on: called often; what it raises ends the tuning.
    device: what trains. Networks come from the processor's memory, and go back there.
    """

    network: Network
    data: ImageData
    confirmation: Confirmation
    seed: int
    calibration: Sequence[tuple[Tensor, Tensor]]
    go_on: Callable[[], None] = lambda: None
    device: torch.device = devices.PROCESSOR

    @cached_property
    def _teacher(self) -> nn.Module:
        return devices.copied_to(self.network.module, self.device)

    @property
    def distillation(self) -> Distillation | None:
        """How to learn from the uncut network; None for labels alone."""
        told = self.confirmation
        if not told.distillation_weight:
            return None
        return Distillation(
            told.distillation_temperature, told.distillation_weight, told.distillation_direction
        )

    @property
    def notes(self) -> dict[str, Any]:
        """What tells one tuning from another; two of the same network agree in every bit."""
        told, distillation = self.confirmation, self.distillation
        if not told.finetune_epochs:
            return {"epochs": 0}
        notes: dict[str, Any] = {
            "epochs": told.finetune_epochs,
            "learning_rate": FINETUNE_LEARNING_RATE,
            "seed": self.seed,
        }
        if distillation is not None:
            notes["distillation"] = asdict(distillation)
        if told.recipe != "at_once":
            notes["recipe"] = told.recipe
        if told.finetune_scales != "fitted":
            notes["scales"] = told.finetune_scales
        if told.precision != "float32":
            notes["precision"] = told.precision
        if self.device != devices.PROCESSOR:
            notes["device"] = self.device.type
        return notes

    def train(
        self,
        module: nn.Module,
        choices: Mapping[str, LayerChoice],
        grids: Mapping[str, Grid],
        further_seed: int = 0,
    ) -> QuantisedTraining:
        """Train a network in place with layers sparse, quantised and their inputs rounded.

        Args:
            module: cut, with float weights, which it keeps.
            choices: what becomes of layers.
            grids: of layer inputs that are rounded.
            further_seed: tells one training of a network from the next.
        """
        told, distillation = self.confirmation, self.distillation
        config = TrainingConfig(
            epochs=told.finetune_epochs,
            learning_rate=FINETUNE_LEARNING_RATE,
            seed=self.seed + further_seed,
            precision=told.precision,
            device=str(self.device),
        )
        trained = train_quantised(
            module.to(self.device),
            choices,
            grids,
            self.network.plan.norm_after,
            self.data,
            config,
            scales=told.finetune_scales,
            teacher=None if distillation is None else self._teacher,
            distillation=distillation,
            progress=lambda _: self.go_on(),
        )
        module.to(devices.PROCESSOR)
        return trained

    def input_grids(self, module: nn.Module, choices: Mapping[str, LayerChoice]) -> dict[str, Grid]:
        """Calibrate what reaches the layers of a cut network whose inputs are quantised."""
        rounded = [name for name, choice in choices.items() if choice.rounds_inputs]
        grids = InputGrids(module.eval(), rounded, self.calibration)
        return {name: grids.of(name, choices[name].activation_bits) for name in rounded}

    def quantised(
        self,
        module: nn.Module,
        choices: Mapping[str, LayerChoice],
        grids: Mapping[str, Grid],
        weight_grids: Mapping[str, Grid] | None = None,
    ) -> TunedNetwork:
        """Return the network as it is handed out: norms folded, weights on grids, and packed."""
        # One memory layout, so that the stored network gives the same bits as this one.
        module = module.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if not choices:
            return TunedNetwork(module)
        norms = self.network.plan.norm_after
        quantised = quantise_network(module, choices, norms, grids, weight_grids)
        rows = quantisation_rows(choices, quantised.folded, grids)
        return TunedNetwork(quantised.module, rows, packed_bytes(quantised))


def tune_at_once(tuning: Tuning, module: nn.Module, policy: Policy) -> TunedNetwork:
    """Train a cut network with all that its policy asks of it in every step, then quantise it."""
    choices = policy.layer_choices(tuning.network.graph)
    tuning.go_on()
    grids = tuning.input_grids(module, choices)
    if not tuning.confirmation.finetune_epochs:
        return tuning.quantised(module, choices, grids)
    trained = tuning.train(module, choices, grids)
    return tuning.quantised(module, choices, trained.inputs, trained.weights)
