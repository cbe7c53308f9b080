"""Multiplications that stand in no layer of the graph, and so in no budget."""

import math
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from automl_compress.core import LayerGraph, Obstacle
from automl_compress.networks.watching import MacCounter

TOLERATED_SHARE = 0.01  # of all multiply-accumulates


def uncounted(module: nn.Module, graph: LayerGraph) -> Obstacle | None:
    """Compare the graph's MACs with an independent count of one forward pass.

    Costs are the layers' weights times their positions. What a network multiplies otherwise,
    by functional convolutions, matrix products and attention, is in no budget.

    Args:
        module: in evaluation mode.
        graph: traced from it.

    Returns:
        How much is not counted, and by which operators; None where the two counts differ by
        less than one percent.
    """
    counted, of_layers = _count(module, graph)
    total = sum(counted.values())
    difference = total - _analytic(graph)
    if abs(difference) <= TOLERATED_SHARE * max(total, 1):
        return None
    if difference < 0:
        reason = (
            f"the layers' weights make {total - difference:,} multiply-accumulates, but a forward "
            f"pass was seen to make {total:,}; budgets of MACs go by the larger number"
        )
        return Obstacle((), "unknown", reason)
    others = sorted(counted - of_layers)
    reason = (
        f"{difference:,} of {total:,} multiply-accumulates ({difference / total:.0%}) are made by "
        f"{', '.join(others)} outside of any layer; they are not cut and stand in no budget of "
        "MACs: write them as modules (nn.Conv2d, nn.Linear) where that is possible"
    )
    return Obstacle((), ", ".join(others), reason)


def _analytic(graph: LayerGraph) -> int:
    full = graph.full_widths
    return sum(
        tensor.positions * math.prod(axis.size(full) for axis in tensor.axes)
        for tensor in graph.tensors
    )


def _count(module: nn.Module, graph: LayerGraph) -> tuple[Counter[str], Counter[str]]:
    """Return the MACs of each operator in one forward pass, and those within the graph's layers."""
    counter = MacCounter()
    layers = [module.get_submodule(layer.name) for layer in graph.layers]
    with counter.following(layers), torch.no_grad(), _plain_attention(), counter:
        module(torch.zeros(1, *graph.input_shape))
    return counter.everywhere, counter.in_layers


@contextmanager
def _plain_attention() -> Generator[None]:
    """Let attention run as the matrix products that it is; its fused kernels are not counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
