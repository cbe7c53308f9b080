"""Criteria: which channels of a group matter most.

Each criterion scores all channels of a network at once; a group's score adds up over the
layers that produce its channels, each layer divided by its own mean so that wide layers do
not outvote narrow ones.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput, UnknownName
from automl_compress.networks.coupling import CONVOLUTIONS, NORMS
from automl_compress.networks.trace import Network

Batches = Iterable[tuple[Tensor, Tensor]]  # images (B, C, ...), labels (B,)
RowScores = Mapping[str, Tensor]  # tensor name -> one score for each entry of its axis 0


def channel_scores(
    network: Network, criterion: str, batches: Batches | None = None, seed: int = 0
) -> list[Tensor]:
    """Score the channels of every group; higher is more important.

    Args:
        network: a traced network.
        criterion: one of `criterion_names()`.
        batches: labelled images, for `taylor` alone; iterated once.
        seed: for `random` alone.

    Returns:
        One float tensor (channels,) for each group.

    Raises:
        UnknownName: no criterion has this name.
        InvalidInput: the criterion needs batches and got none.
    """
    if criterion not in _CRITERIA:
        raise UnknownName("criterion", criterion, _CRITERIA)
    rows = _CRITERIA[criterion](network, batches, seed)
    return _sum_over_groups(network, rows)


def criterion_names() -> tuple[str, ...]:
    """Return the names of all criteria."""
    return tuple(_CRITERIA)


def rank_channels(scores: Iterable[Tensor]) -> list[Tensor]:
    """Return each group's channels from most to least important; ties keep their order."""
    return [torch.argsort(each, descending=True, stable=True) for each in scores]


def _sum_over_groups(network: Network, rows: RowScores) -> list[Tensor]:
    plan = network.plan
    totals = torch.zeros(plan.total + 1, dtype=torch.float64)
    for name, scores in rows.items():
        numbers = plan.axes.get((name, 0))
        if numbers is not None:
            share = scores.double() / scores.double().mean().clamp_min(1e-12)
            totals.index_add_(0, numbers, share)
    return [
        totals[start : start + channels].float()
        for start, channels in zip(plan.offsets, plan.channels, strict=True)
    ]


def _filters(network: Network) -> dict[str, Tensor]:
    """Return the weights of all producers as (outputs, rest) matrices."""
    producers = {name for group in network.graph.groups for name in group.producers}
    return {
        f"{name}.weight": network.module.get_parameter(f"{name}.weight").detach().flatten(1)
        for name in sorted(producers)
    }


def _l1(network: Network, batches: Batches | None, seed: int) -> RowScores:
    """Sum of absolute filter weights (Li et al., ICLR 2017, section 3.1)."""
    return {name: rows.abs().sum(1) for name, rows in _filters(network).items()}


def _l2(network: Network, batches: Batches | None, seed: int) -> RowScores:
    """Euclidean norm of the filter (He et al., IJCAI 2018, equation 2, with p = 2)."""
    return {name: rows.norm(dim=1) for name, rows in _filters(network).items()}


def _fpgm(network: Network, batches: Batches | None, seed: int) -> RowScores:
    """Sum of distances to all other filters of the layer (He et al., CVPR 2019, equation 6).

    Filters near the geometric median can be replaced by the others, so they score low.
    """
    return {name: torch.cdist(rows, rows).sum(1) for name, rows in _filters(network).items()}


def _norm_scale(network: Network, batches: Batches | None, seed: int) -> RowScores:
    """Absolute scale of the batch norms (Liu et al., ICCV 2017); filters' L1 without a norm."""
    scales = {
        f"{name}.weight": member.weight.detach().abs()
        for name, member in network.module.named_modules()
        if isinstance(member, NORMS) and member.weight is not None
    }
    scored = _channels_scored(network, scales)
    rest = {
        name: scores
        for name, scores in _l1(network, None, seed).items()
        if not bool(scored[network.plan.axes[name, 0]].any())
    }
    return scales | rest


def _channels_scored(network: Network, rows: RowScores) -> Tensor:
    """Mark every channel that one of these tensors follows; (total + 1,) boolean."""
    scored = torch.zeros(network.plan.total + 1, dtype=torch.bool)
    for name in rows:
        if (name, 0) in network.plan.axes:
            scored[network.plan.axes[name, 0]] = True
    scored[-1] = False
    return scored


def _taylor(network: Network, batches: Batches | None, seed: int) -> RowScores:
    """First-order Taylor importance on gates (Molchanov et al., CVPR 2019, equations 8 and 9).

    The gate of a channel is its batch norm, (g_scale * scale + g_shift * shift)^2, summed over
    batches; where no norm follows, the filter itself, (sum of g_w * w)^2.
    """
    if batches is None:
        raise InvalidInput("the criterion 'taylor' needs calibration images; give batches")
    importance: dict[str, Tensor] = {}
    with _gradients(network.module) as module:
        for images, labels in batches:
            module.zero_grad(set_to_none=True)
            F.cross_entropy(module(images), labels).backward()
            for name, squared in _squared_contributions(network).items():
                importance[name] = importance.get(name, torch.zeros_like(squared)) + squared
    if not importance:
        raise InvalidInput("the criterion 'taylor' got no calibration images; give at least one")
    norms = {n: s for n, s in importance.items() if isinstance(_owner(network, n), NORMS)}
    scored = _channels_scored(network, norms)
    axes = network.plan.axes
    return {
        name: scores
        for name, scores in importance.items()
        if name in norms or ((name, 0) in axes and not bool(scored[axes[name, 0]].any()))
    }


@contextmanager
def _gradients(module: nn.Module) -> Iterator[nn.Module]:
    """Let every parameter take gradients, in evaluation mode; undone at the end."""
    was_training, frozen = module.training, [p for p in module.parameters() if not p.requires_grad]
    module.eval()
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield module
    finally:
        module.zero_grad(set_to_none=True)
        for parameter in frozen:
            parameter.requires_grad_(False)
        module.train(was_training)


def _owner(network: Network, tensor: str) -> object:
    return network.module.get_submodule(tensor.rpartition(".")[0])


def _squared_contributions(network: Network) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, member in network.module.named_modules():
        weight, bias = getattr(member, "weight", None), getattr(member, "bias", None)
        if not isinstance(weight, Tensor) or weight.grad is None:
            continue
        if isinstance(member, NORMS):
            contribution = weight.grad * weight
            if bias is not None and bias.grad is not None:
                contribution = contribution + bias.grad * bias
            found[f"{name}.weight"] = contribution.detach().square()
        elif isinstance(member, (*CONVOLUTIONS, nn.Linear)):
            found[f"{name}.weight"] = (weight.grad * weight).detach().flatten(1).sum(1).square()
    return found


def _random(network: Network, batches: Batches | None, seed: int) -> RowScores:
    """Uniform random scores: the control that any criterion must beat."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(len(rows), generator=generator) for name, rows in _filters(network).items()
    }


_CRITERIA: Mapping[str, Callable[[Network, Batches | None, int], RowScores]] = {
    "l1": _l1,
    "l2": _l2,
    "bn_scale": _norm_scale,
    "fpgm": _fpgm,
    "taylor": _taylor,
    "random": _random,
}
