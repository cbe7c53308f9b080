"""Rounding layer inputs within the program: grids are arguments, as weights are."""

from typing import Any

import torch
from torch import Tensor, fx

from automl_compress.compress.quantisers import Grid

aten = torch.ops.aten
_WEIGHTED: dict[Any, int] = {  # where operators take their weight
    aten.conv1d.default: 1,
    aten.conv2d.default: 1,
    aten.conv3d.default: 1,
    aten.conv1d.padding: 1,
    aten.conv2d.padding: 1,
    aten.conv3d.padding: 1,
    aten.linear.default: 1,
}
if torch.backends.mkldnn.is_available():
    _WEIGHTED[torch.ops.mkldnn._convolution_pointwise.default] = 1
    _WEIGHTED[torch.ops.mkldnn._convolution_pointwise.binary] = 2
NO_GRID = torch.empty(0)


def grid_tensor(grid: Grid) -> Tensor:
    """Return what `round_to_grid` takes: a sign grid's scale, or inverse scale, scale and codes."""
    scale = float(grid.values)
    if grid.form == "sign":
        return torch.tensor([scale])
    return torch.tensor([1 / scale, scale, grid.lowest, grid.highest])


def round_to_grid(x: Tensor, grid: Tensor) -> Tensor:
    """Return x on a grid; x itself where there is none."""
    if not len(grid):
        return x
    if len(grid) == 1:
        return torch.where(x < 0, -grid, grid)
    inverse, scale, lowest, highest = grid.tolist()
    return x.mul(inverse).round_().clamp_(lowest, highest).mul_(scale)


def round_layer_inputs(graph: fx.Graph, names: dict[fx.Node, str]) -> None:
    """Put a rounding before each convolution and linear layer, in place.

    Args:
        graph: of the program.
        names: of its placeholders; those of the grids are added, `<layer>.input_grid`.
    """
    first = next(iter(graph.nodes))
    grids: dict[str, fx.Node] = {}
    for node in list(graph.nodes):
        weight = node.args[_WEIGHTED[node.target]] if node.target in _WEIGHTED else None
        if weight not in names:
            continue
        layer = names[weight].rpartition(".")[0]
        if layer not in grids:
            with graph.inserting_before(first):
                grids[layer] = graph.placeholder(f"input_grid_{len(grids)}")
            names[grids[layer]] = f"{layer}.input_grid"
        with graph.inserting_before(node):
            rounded = graph.call_function(round_to_grid, (node.args[0], grids[layer]))
        node.args = (rounded, *node.args[1:])
