"""Trained codebooks: the weights of a cluster share one value, and move together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from automl_compress.compress.quantisers import QuantisedTensor
from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import ImageData
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.training import train


def train_shared(
    module: nn.Module,
    shared: Mapping[str, QuantisedTensor],
    data: ImageData,
    config: TrainingConfig,
    *,
    teacher: nn.Module | None = None,
    distillation: Distillation | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, QuantisedTensor]:
    """Train the codebooks of layers in place; which weight has which entry stays.

    The gradient of an entry is the sum of those of its weights. Entries that are zero stay
    zero; what is not shared is trained as ever.

    Args:
        module: ends in evaluation mode, its shared weights being those that are returned.
        shared: codes and codebooks, fitted by the quantiser `kmeans` for instance, by module
            path of convolutions and linear layers.
        data: its train split and its augmentation are used.
        config: how. Sums of gradients are large, so the learning rate is small; weight decay
            acts on codebooks as well.
        teacher: a network to learn from, as in `train`.
        distillation: how to learn from it.
        progress: called after every batch; what it raises ends the training, with the weights
            shared as they are then.

    Returns:
        Codes and codebooks as trained, by module path.

    Raises:
        InvalidInput: a tensor has no codebook, does not fit its layer, or the loss is no longer
            finite.

    Source: Han et al., "Deep Compression", ICLR 2016, section 3.
    """
    members = dict(module.named_modules())
    for name, tensor in shared.items():
        _check(name, members.get(name), tensor)
    for name, tensor in shared.items():
        layer: Any = members[name]
        layer.weight.requires_grad_(False)
        # Without the check of its result, which would run on a deep copy of the weight.
        parametrize.register_parametrization(layer, "weight", _Codebook(tensor), unsafe=True)
    trained: dict[str, QuantisedTensor] = {}
    try:
        train(module, data, config, teacher=teacher, distillation=distillation, progress=progress)
    finally:
        for name, tensor in shared.items():
            trained[name] = _settle(members[name], tensor)
    return trained


class _Codebook(nn.Module):
    """Gives a layer the weights that its codes stand for."""

    _entries: Tensor  # int64, places in the codebooks laid end to end
    _moves: Tensor  # bool, of the codebooks' shape

    def __init__(self, tensor: QuantisedTensor) -> None:
        super().__init__()
        grid = tensor.grid
        values = grid.values.detach().float().clone()
        self.values = nn.Parameter(values)
        entries = tensor.codes.long()
        if grid.axis is not None:
            starts = torch.arange(len(values)) * values.shape[1]
            shape = [-1 if axis == grid.axis else 1 for axis in range(entries.dim())]
            entries = entries + starts.view(shape)
        # Both follow from the codes, so that they need not stand in a checkpoint.
        self.register_buffer("_entries", entries.reshape(-1), persistent=False)
        self.register_buffer("_moves", values != 0, persistent=False)
        self._shape = tensor.codes.shape

    def forward(self, weight: Tensor) -> Tensor:
        """Return the shared weights; the layer's own are not looked at."""
        return self.trained().reshape(-1).index_select(0, self._entries).view(self._shape)

    def trained(self) -> Tensor:
        """Return the codebooks, what was zero being zero."""
        return self.values * self._moves


def _check(name: str, layer: nn.Module | None, tensor: QuantisedTensor) -> None:
    weight = getattr(layer, "weight", None)
    if weight is None or weight.shape != tensor.codes.shape:
        raise InvalidInput(
            f"codes of shape {tuple(tensor.codes.shape)} are given for {name!r}, which is no layer "
            "of the network with such a weight; give its own layers' codes"
        )
    if tensor.grid.form != "codebook":
        raise InvalidInput(
            f"{name!r} has a {tensor.grid.form} grid; only codebooks can be trained, as the "
            "quantiser 'kmeans' gives them"
        )


@torch.no_grad()
def _settle(layer: Any, before: QuantisedTensor) -> QuantisedTensor:
    """Leave the layer with its shared weights; return them, the codebooks ascending again."""
    values, order = layer.parametrizations.weight[0].trained().detach().sort(dim=1)
    places = order.argsort(dim=1)  # where an entry is now
    codes = replace(before.grid, values=places.float()).decode(before.codes).int()
    settled = QuantisedTensor(codes, replace(before.grid, values=values.clone()))
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    layer.weight.copy_(settled.dequantise())
    layer.weight.requires_grad_(True)
    return settled
