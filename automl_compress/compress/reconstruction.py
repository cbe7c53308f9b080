"""Least-squares feature-map reconstruction, tabulated for each layer and selection.

A layer that loses input channels gets new weights: those which, from the remaining inputs,
best reproduce the uncut network's outputs (He et al., ICCV 2017, equation 2; AMC, section
3.3). All that the solution needs are the mean and covariance of the layer's input patches.
They are gathered once for each network; after that a solve costs one Cholesky factorisation,
and the result, tabulated by layer and kept inputs, costs nothing the second time. Where a
batch norm follows, the mean and variance of the new outputs follow in closed form from the
same matrices, so no image is forwarded for a candidate.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.tabulation import Tabulation
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.coupling import CONVOLUTIONS
from automl_compress.networks.entering import visiting
from automl_compress.networks.trace import Network

POSITIONS = 16  # sampled in each feature map; AMC samples 10
DAMPING = 1e-4  # of the mean variance, added to the diagonal: patches of dead channels are singular
TABLE_BYTES = 1 << 29  # of solved layers that are remembered


@dataclass(frozen=True)
class PatchStatistics:
    """Mean (D,) and covariance (D, D) of a layer's input patches, kernel-position-major.

    D = kernel positions times input channels; entry (position, channel) is at
    position * channels + channel.
    """

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class SolvedLayer:
    """New weights of a layer, for all its outputs.

    weight: (outputs, kernel positions, kept inputs).
    bias: (outputs,), or None where the layer has none.
    norm_mean, norm_variance: (outputs,) for the following batch norm, None without one.
    """

    weight: Tensor
    bias: Tensor | None
    norm_mean: Tensor | None
    norm_variance: Tensor | None

    @property
    def size_bytes(self) -> int:
        """What its tensors take in memory."""
        tensors = (self.weight, self.bias, self.norm_mean, self.norm_variance)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


class Reconstruction:
    """Solves layers for any selection of their inputs, and remembers the solutions."""

    def __init__(self, network: Network, batches: Iterable[tuple[Tensor, Tensor]], seed: int = 0):
        """Gather the patch statistics of every layer that can lose inputs.

        Args:
            network: a traced network.
            batches: calibration images (labels are not read), iterated once.
            seed: for the sampled positions.

        Raises:
            InvalidInput: there was no batch.
        """
        self._network = network
        self._members: dict[str, Any] = {
            name: network.module.get_submodule(name) for name in solvable_layers(network)
        }
        self._statistics = gather_statistics(network.module, self._members, batches, seed)
        self._solved = Tabulation[SolvedLayer](TABLE_BYTES, lambda solved: solved.size_bytes)

    @property
    def layers(self) -> frozenset[str]:
        """Names of the layers that are solved when they lose inputs."""
        return frozenset(self._statistics)

    def solve(self, layer: str, kept: Tensor) -> SolvedLayer:
        """Return the least-squares weights of `layer` for these kept input entries (ascending)."""
        key = (layer, kept.numpy().tobytes())
        return self._solved.get(key, lambda: self._solve(layer, kept))

    def _solve(self, layer: str, kept: Tensor) -> SolvedLayer:
        member, statistics = self._members[layer], self._statistics[layer]
        weight = kernel_major(member.weight.detach())  # (O, K, I)
        outputs, positions, inputs = weight.shape
        entries = (torch.arange(positions)[:, None] * inputs + kept).flatten()
        has_norm = layer in self._network.plan.norm_after
        mean, moments = statistics.mean.double(), statistics.covariance
        is_centred = has_norm or member.bias is not None
        gram = moments[entries][:, entries].double()
        cross = moments[entries].double() @ weight.reshape(outputs, -1).T.double()  # (S, O)
        if not is_centred:  # no shift can be absorbed, so means count as error
            gram = gram + torch.outer(mean[entries], mean[entries])
            cross = cross + torch.outer(
                mean[entries], mean @ weight.reshape(outputs, -1).T.double()
            )
        damped = gram + DAMPING * gram.diagonal().mean().clamp_min(1e-12) * torch.eye(len(entries))
        solution = torch.cholesky_solve(cross, torch.linalg.cholesky(damped))  # (S, O)
        new_mean = mean[entries] @ solution
        variance = (solution * (gram @ solution)).sum(0) if has_norm else None
        bias = None if member.bias is None else member.bias.detach().double()
        if bias is not None and not has_norm:
            bias = bias + mean @ weight.reshape(outputs, -1).T.double() - new_mean
        return SolvedLayer(
            weight=solution.T.reshape(outputs, positions, len(kept)).float().contiguous(),
            bias=None if bias is None else bias.float(),
            norm_mean=(new_mean + (0 if bias is None else bias)).float() if has_norm else None,
            norm_variance=None if variance is None else variance.float(),
        )


def solvable_layers(network: Network) -> list[str]:
    """Name the dense convolutions and linear layers whose inputs can be cut."""
    return [
        layer.name
        for layer in network.graph.layers
        if layer.kind != "other"
        and layer.convolution_groups == 1
        and layer.calls == 1
        and (layer.weight, 1) in network.plan.axes
    ]


def kernel_major(weight: Tensor) -> Tensor:
    """Reorder (O, I, kernel...) to (O, kernel positions, I), contiguous."""
    return weight.flatten(2).transpose(1, 2).contiguous() if weight.dim() > 2 else weight[:, None]


def from_kernel_major(weight: Tensor, shape: torch.Size) -> Tensor:
    """Undo `kernel_major`; the result lies channels-last in memory, without a copy."""
    if len(shape) == 2:
        return weight[:, 0]
    outputs, _, inputs = weight.shape
    return weight.view(outputs, *shape[2:], inputs).movedim(-1, 1)


def gather_statistics(
    module: nn.Module,
    members: dict[str, nn.Module],
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
) -> dict[str, PatchStatistics]:
    """Forward the batches and gather mean and covariance of each member's input patches.

    Raises:
        InvalidInput: there was no batch.
    """
    generator = torch.Generator().manual_seed(seed)
    sums: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    shifts: dict[str, Tensor] = {}

    def gather(name: str, member: nn.Module, inputs: Tensor) -> None:
        rows = sample_patches(member, inputs, generator)  # (R, D)
        # Products of values far from zero would drown the covariance in rounding errors.
        rows = rows - shifts.setdefault(name, rows.mean(0))
        products[name] = products.get(name, 0) + rows.T @ rows
        sums[name] = sums.get(name, 0) + rows.sum(0, dtype=torch.float64)
        counts[name] = counts.get(name, 0) + len(rows)

    with visiting(members, gather), torch.inference_mode():
        for images, _ in batches:
            module(images)
    if members and not counts:
        raise InvalidInput("reconstruction got no calibration images; give at least one batch")
    return {
        name: _statistics(shifts[name], sums[name], products[name], counts[name])
        for name in members
    }


def _statistics(shift: Tensor, total: Tensor, products: Tensor, count: int) -> PatchStatistics:
    offset = total / count
    mean = shift.double() + offset
    covariance = products.double() / count - torch.outer(offset, offset)
    # Ordinary tensors again: inference tensors cannot be saved for a backward pass.
    return PatchStatistics(mean.float().clone(), covariance.float().clone())


def sample_patches(member: Any, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Return input patches of a layer at sampled output positions, as rows (R, D).

    Args:
        member: a convolution with one group (any dimension), or a linear layer.
        inputs: (B, C, ...) for convolutions, (B, ..., C) for linear layers.
        generator: draws the positions, the same for all images of a batch.
    """
    if not isinstance(member, CONVOLUTIONS):
        return inputs.reshape(-1, inputs.shape[-1])
    mode = "constant" if member.padding_mode == "zeros" else member.padding_mode
    padded = nn.functional.pad(inputs, _padding(member), mode=mode)
    spans = [
        step * (size - 1) + 1
        for step, size in zip(member.dilation, member.kernel_size, strict=True)
    ]
    for axis, (span, stride) in enumerate(zip(spans, member.stride, strict=True), start=2):
        padded = padded.unfold(axis, span, stride)  # one more axis at the end, as a view
    for axis, step in enumerate(member.dilation):
        places = [slice(None)] * padded.dim()
        places[padded.dim() - len(spans) + axis] = slice(None, None, step)
        padded = padded[tuple(places)]
    grid = padded.shape[2 : 2 + len(spans)]  # output positions along each axis
    chosen = torch.randperm(math.prod(grid), generator=generator)[:POSITIONS]
    windows = padded[(slice(None), slice(None), *torch.unravel_index(chosen, grid))]
    rows = windows.flatten(3).permute(0, 2, 3, 1)  # (B, positions, kernel, C)
    return rows.reshape(len(inputs) * len(chosen), -1).contiguous()


def _padding(member: Any) -> list[int]:
    """Return what is added before and after each axis, the last axis first."""
    if isinstance(member.padding, str):  # "same" or "valid"
        spans = zip(member.dilation, member.kernel_size, strict=True)
        totals = [step * (size - 1) if member.padding == "same" else 0 for step, size in spans]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(amount, amount) for amount in member.padding]
    return [amount for side in reversed(sides) for amount in side]
