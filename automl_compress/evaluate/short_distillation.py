"""A few steps of training for every candidate: what training will make of it shows early."""

from collections.abc import Mapping

import torch
from torch import nn

from automl_compress.compress.input_grids import InputGrids
from automl_compress.core import LayerChoice, Recipe
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData, Split
from automl_compress.networks import devices
from automl_compress.networks.trace import Network
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.quantised_training import train_quantised

# A third of what fine-tuning takes: so few steps have no time to come back from large ones.
LEARNING_RATE = 0.003
# From the uncut network alone, as labels would pull a candidate away from what it is compared with.
DISTILLATION = Distillation(weight=1.0, direction="reverse")


class ShortDistillation:
    """Lets cut networks learn from the uncut one, once through the calibration images.

    What a network recovers from costs it less than the first harm says: searches that score
    untrained networks pay for 8 bits with zeros, and those that score behind this take 4.
    """

    def __init__(
        self, network: Network, calibration: Split, grids: InputGrids, recipe: Recipe
    ) -> None:
        """Prepare.

        Args:
            network: uncut, traced; the teacher.
            calibration: what is learned from, never augmented.
            grids: of layer inputs that are rounded, fitted on the uncut network.
            recipe: says the batch size, and the seed of the images' order.
        """
        self._network, self._grids, self._recipe = network, grids, recipe
        self._data = ImageData(
            calibration.name,
            int(calibration.labels.max()) + 1,
            network.graph.input_shape,
            calibration.normalisation,
            Augmentation(),
            {"train": calibration},
        )

    def train(
        self, module: nn.Module, choices: Mapping[str, LayerChoice], device: torch.device
    ) -> None:
        """Train a cut network in place, its layers being what a policy makes of them.

        Args:
            module: cut, on the device, with float weights, which it keeps; those that the policy
                removes are zero afterwards.
            choices: what becomes of layers.
            device: what trains.

        Raises:
            InvalidInput: the loss is no longer finite.
        """
        config = TrainingConfig(
            epochs=1,
            batch_size=max(self._recipe.batch_size, 2),
            learning_rate=LEARNING_RATE,
            seed=self._recipe.seed,
            device=str(device),
        )
        train_quantised(
            module,
            choices,
            {
                name: self._grids.of(name, choice.activation_bits)
                for name, choice in choices.items()
                if choice.rounds_inputs
            },
            self._network.plan.norm_after,
            self._data,
            config,
            teacher=devices.copied_to(self._network.module, device),
            distillation=DISTILLATION,
        )
