"""How the implementations of AMC and its successors score a candidate.

A deep copy of the network, masks of zeros, and with reconstruction `lstsq` on all sampled rows of
each layer, for each candidate anew.
"""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.reconstruction import (
    DAMPING,
    from_kernel_major,
    kernel_major,
    sample_patches,
    solvable_layers,
)
from automl_compress.networks.coupling import SOURCE_VALUES
from automl_compress.networks.trace import Network

SEED = 0


class PublishedWay:
    """Masked copies; reconstruction from stored rows."""

    def __init__(self, network: Network, calibration: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.network = network
        self.rows = _rows(network, calibration)

    def masked(self, kept: Sequence[Tensor]) -> nn.Module:
        """Return a deep copy whose removed channels are zero."""
        twin = copy.deepcopy(self.network.module)
        tensors = dict(twin.named_parameters()) | dict(twin.named_buffers())
        mask = self.network.plan.mask(kept)
        with torch.no_grad():
            for (name, axis), numbers in self.network.plan.axes.items():
                if axis == SOURCE_VALUES:  # a shortcut shows zero where its input is masked
                    shown = tensors[name]
                    shown[torch.isin(shown, (~mask[numbers]).nonzero())] = len(numbers)
                elif not name.endswith(".source"):
                    shape = [1] * tensors[name].dim()
                    shape[axis] = -1
                    tensors[name].mul_(mask[numbers].view(shape))
        return twin

    def reconstructed(self, kept: Sequence[Tensor]) -> nn.Module:
        """Return a masked copy with every layer's remaining inputs fitted by least squares."""
        twin = self.masked(kept)
        mask = self.network.plan.mask(kept)
        for layer in self.rows:
            keeps = mask[self.network.plan.axes[f"{layer}.weight", 1]]
            if not bool(keeps.all()):
                self._fit(twin, layer, keeps, mask)
        return twin

    @torch.no_grad()
    def _fit(self, twin: nn.Module, layer: str, keeps: Tensor, mask: Tensor) -> None:
        member: Any = twin.get_submodule(layer)
        original: Any = self.network.module.get_submodule(layer)
        weight = kernel_major(original.weight)
        outputs, positions, inputs = weight.shape
        rows = self.rows[layer].double()
        columns = (torch.arange(positions)[:, None] * inputs + keeps.nonzero().T).flatten()
        centred = rows - rows.mean(0)
        target = centred @ weight.reshape(outputs, -1).T.double()
        damping = DAMPING * centred[:, columns].square().mean(0).mean()
        chosen = torch.cat(
            [centred[:, columns], (damping * len(rows)).sqrt() * torch.eye(len(columns))]
        )
        padded = torch.cat([target, torch.zeros(len(columns), outputs)])
        solution = torch.linalg.lstsq(chosen, padded).solution  # (S, O)
        full = torch.zeros(outputs, positions * inputs, dtype=torch.float64)
        full[:, columns] = solution.T
        new = from_kernel_major(full.view(outputs, positions, inputs).float(), member.weight.shape)
        rows_out = (
            mask[self.network.plan.axes[f"{layer}.weight", 0]]
            if (
                f"{layer}.weight",
                0,
            )
            in self.network.plan.axes
            else torch.ones(outputs, dtype=torch.bool)
        )
        member.weight.copy_(new * rows_out.view(-1, *[1] * (new.dim() - 1)))
        norm_name = self.network.plan.norm_after.get(layer)
        fitted = centred[:, columns] @ solution
        mean = rows.mean(0)[columns] @ solution
        if norm_name is not None:
            norm: Any = twin.get_submodule(norm_name)
            norm.running_mean.copy_(mean * rows_out)
            norm.running_var.copy_(fitted.var(0, correction=0) * rows_out)
        elif member.bias is not None:
            shift = rows.mean(0) @ weight.reshape(outputs, -1).T.double() - mean
            member.bias.copy_((original.bias + shift) * rows_out)


def _rows(network: Network, calibration: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Store the sampled input rows of every layer, at the positions our statistics use."""
    generator = torch.Generator().manual_seed(SEED)
    rows: dict[str, list[Tensor]] = {name: [] for name in solvable_layers(network)}

    def store(kept: list[Tensor], member: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(sample_patches(member, inputs[0], generator))

    hooks = [
        network.module.get_submodule(name).register_forward_pre_hook(partial(store, kept))
        for name, kept in rows.items()
    ]
    with torch.no_grad():
        for images, _ in calibration:
            network.module(images)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in rows.items() if parts}
