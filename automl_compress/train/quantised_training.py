"""Quantisation-aware training: sparse, quantised weights and rounded inputs while it learns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from automl_compress.compress.input_grids import round_inputs
from automl_compress.compress.quantisers import Grid
from automl_compress.core import LayerChoice
from automl_compress.core.confirmation import TunedScales
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.data.datasets import ImageData
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.report import TrainingReport
from automl_compress.train.straight_through import LearnedInputs, ScaledWeights, StraightThrough
from automl_compress.train.training import train


@dataclass(frozen=True, eq=False)
class QuantisedTraining:
    """What training with quantised layers leaves, beside the network.

    weights: the grids of layers' weights, norms folded in, where they stay as trained; empty where
        scales are fitted to the weights.
    inputs: the grids of layers' inputs; all grids are in the processor's memory.
    """

    report: TrainingReport
    weights: Mapping[str, Grid]
    inputs: Mapping[str, Grid]


def train_quantised(
    module: nn.Module,
    choices: Mapping[str, LayerChoice],
    grids: Mapping[str, Grid],
    norm_after: Mapping[str, str],
    data: ImageData,
    config: TrainingConfig,
    *,
    scales: TunedScales = "fitted",
    teacher: nn.Module | None = None,
    distillation: Distillation | None = None,
    progress: ProgressCallback | None = None,
) -> QuantisedTraining:
    """Train a cut float network in place so that it loses little when it is quantised afterwards.

    In every step each layer computes with its weights on their grids, and with its inputs on
    theirs; gradients pass straight through both (Bengio et al., 2013; Jacob et al., CVPR 2018,
    section 3). Which weights are zero is decided before the first step.
    Norms are trained as they are: channels have grids of their own, so that folding a norm in
    afterwards changes no code. One grid for the layer is fitted to weights times the norm's scale.

    Args:
        module: the cut network with float weights, on the config's device; ends with float
            weights, in evaluation mode.
        choices: what becomes of layers, by module path.
        grids: of layer inputs, by module path.
        norm_after: the norm that alone follows a layer; weights are compared with its scale.
        data: its train split and its augmentation are used.
        config: how.
        scales: `fitted` fits those of weights anew in every step and keeps those of inputs;
            `fixed` fits both before the first step and keeps them; `learned` starts there and
            trains them with the weights.
        teacher: a network to learn from, as in `train`.
        distillation: how to learn from it.
        progress: called after every batch; what it raises ends the training.

    Raises:
        InvalidInput: the loss is no longer finite, a grid does not fit, or has no scales that
            could stay or be learned.
        DataInvalid: weights hold NaN or infinity.
    """
    members = dict(module.named_modules())
    made = {
        name: _weights(members[name], _norm(members, norm_after.get(name)), choice, scales)
        for name, choice in choices.items()
        if choice.changes_weights
    }
    for name, compressed in made.items():
        # Without the check of its result, which would run on a deep copy of the weight.
        parametrize.register_parametrization(members[name], "weight", compressed, unsafe=True)
    learned: dict[str, LearnedInputs] = {}
    if scales == "learned":
        learned = {name: LearnedInputs(members[name], grid) for name, grid in grids.items()}
    undo = round_inputs(module, {} if learned else grids)
    inputs, weights = dict(grids), dict[str, Grid]()
    try:
        report = train(
            module, data, config, teacher=teacher, distillation=distillation, progress=progress
        )
    finally:
        for each in undo:
            each()
        inputs |= {name: hook.remove() for name, hook in learned.items()}
        for name, compressed in made.items():
            _settle(members[name])
            if isinstance(compressed, ScaledWeights):
                weights[name] = compressed.grid(members[name].get_parameter("weight").detach())
    return QuantisedTraining(report, weights, inputs)


def _norm(members: Mapping[str, nn.Module], name: str | None) -> nn.Module | None:
    return None if name is None else members[name]


def _weights(layer: Any, norm: Any, choice: LayerChoice, scales: TunedScales) -> StraightThrough:
    if scales == "fitted" or choice.weight_bits == FLOAT_BITS:
        return StraightThrough(layer, norm, choice)
    return ScaledWeights(layer, norm, choice, is_learned=scales == "learned")


@torch.no_grad()
def _settle(layer: Any) -> None:
    """Leave the layer with its float weights, what is zero being zero."""
    compressed: Any = layer.parametrizations.weight[0]
    values = compressed.masked(layer.parametrizations.weight.original.detach()).clone()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    layer.weight.copy_(values)
    # The weight is registered anew; back in front, files list the tensors in their old order.
    for name in [each for each in layer._parameters if each != "weight"]:
        layer._parameters[name] = layer._parameters.pop(name)
