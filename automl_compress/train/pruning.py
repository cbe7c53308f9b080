"""Pruning in rounds: remove single weights, train what is left, remove more."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from automl_compress.compress.layer_weights import sparsified
from automl_compress.core import LayerChoice
from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import ImageData
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.quantised_training import train_quantised
from automl_compress.train.report import TrainingReport
from automl_compress.train.straight_through import as_folded


@torch.no_grad()
def prune(
    module: nn.Module, sparsities: Mapping[str, float], norm_after: Mapping[str, str]
) -> None:
    """Zero the smallest weights of layers in place; nothing is trained.

    Args:
        module: with float weights.
        sparsities: fraction of a layer's weights that becomes zero, in [0, 1), by module path of
            convolutions and linear layers.
        norm_after: the norm that alone follows a layer; weights are compared with its scale.

    Raises:
        DataInvalid: weights hold NaN or infinity.
    """
    members = dict(module.named_modules())
    for name, sparsity in sparsities.items():
        layer: Any = members[name]
        norm = members[norm_after[name]] if name in norm_after else None
        kept = sparsified(as_folded(layer.weight.detach(), norm), sparsity) != 0
        layer.weight.copy_(torch.where(kept, layer.weight, 0.0))


def prune_and_retrain(
    module: nn.Module,
    sparsities: Mapping[str, float],
    data: ImageData,
    config: TrainingConfig,
    *,
    rounds: int = 1,
    norm_after: Mapping[str, str] | None = None,
    teacher: nn.Module | None = None,
    distillation: Distillation | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[TrainingReport, ...]:
    """Zero the smallest weights of layers in place, in rounds with training behind each.

    Every round removes the same fraction of what the one before left; removed weights stay
    zero.

    Args:
        module: ends in evaluation mode, with zeros where weights were removed.
        sparsities: fraction of a layer's weights that are zero in the end, in [0, 1), by module
            path of convolutions and linear layers.
        data: its train split and its augmentation are used.
        config: of one round; each has its own cycle of learning rates.
        rounds: 1 is one-shot pruning.
        norm_after: the norm that alone follows a layer; weights are compared with its scale.
        teacher: a network to learn from, as in `train`.
        distillation: how to learn from it.
        progress: called after every batch; what it raises ends the training.

    Returns:
        A report for each round.

    Raises:
        InvalidInput: there are no rounds, a name is not the module's, or the loss is no longer
            finite.
        PolicyInvalid: a sparsity is out of range.

    Source: Han et al., "Learning both weights and connections for efficient neural networks",
    NeurIPS 2015, section 3: magnitude, masks, and iterative pruning. They set a threshold for
    each layer; here its share of weights is set.
    """
    if rounds < 1:
        raise InvalidInput(f"rounds is {rounds!r}; give 1 or more")
    members = dict(module.named_modules())
    if unknown := [name for name in sparsities if name not in members]:
        raise InvalidInput(f"the network has no layer {unknown[0]!r}; give its own names")
    reports: list[TrainingReport] = []
    for done in range(1, rounds + 1):
        choices = {
            name: LayerChoice(name, 1.0 - (1.0 - sparsity) ** (done / rounds))
            for name, sparsity in sparsities.items()
        }
        parts = module, choices, {}, norm_after or {}, data, config
        trained = train_quantised(
            *parts, teacher=teacher, distillation=distillation, progress=progress
        )
        reports.append(trained.report)
    return tuple(reports)
