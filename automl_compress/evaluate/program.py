"""The network as a flat program: norms folded, activations in place, weights as arguments.

A candidate is scored without building a module: the same program runs with other weights.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._export.utils import is_buffer, is_lifted_tensor_constant, is_param

from automl_compress.evaluate.fusion import convolve_shortcuts, fuse_convolutions
from automl_compress.evaluate.rounding import round_layer_inputs
from automl_compress.networks.shortcut import ZeroPadShortcut
from automl_compress.networks.trace import Network

aten = torch.ops.aten
_DENSE = {
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
    aten.linear.default,
}
# Operators whose result nobody else holds: an operator that follows may overwrite it.
_FRESH = _DENSE | {
    aten.batch_norm.default,
    aten.add.Tensor,
    aten.mul.Tensor,
    aten.cat.default,
    aten.index_select.default,
    aten.avg_pool2d.default,
    aten.max_pool2d.default,
}
_IN_PLACE = {
    aten.relu.default: aten.relu_.default,
    aten.hardtanh.default: aten.hardtanh_.default,
    aten.hardswish.default: aten.hardswish_.default,
    aten.silu.default: aten.silu_.default,
    aten.add.Tensor: aten.add_.Tensor,
}


@dataclass(frozen=True)
class Program:
    """A compiled forward pass.

    module: called as `module(images, *tensors)`, with one tensor for each entry of `inputs`.
    inputs: names of the tensors: state-dict names, `<layer>.folded_bias` for layers whose
        batch norm was folded, and `<layer>.input_grid` where inputs are rounded.
    folded: layer name to the name of the norm that was folded into it.

    Its pickle is small and quickly read: compiling takes seconds, and half of them are torch's,
    to import the exporter.
    """

    module: fx.GraphModule
    inputs: tuple[str, ...]
    folded: dict[str, str]

    def __call__(self, images: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, classes) of images (B, ...)."""
        return self.module.forward(images, *tensors)


def compile_program(network: Network, *, rounds_inputs: bool = False) -> Program:
    """Export a traced network and rewrite it for repeated scoring.

    Args:
        network: traced.
        rounds_inputs: whether each convolution and linear layer puts its input on a grid first.

    Raises:
        Exception: whatever `torch.export` raises on a forward pass that it cannot follow; the
            caller scores such networks module by module.
    """
    example = torch.zeros(2, *network.graph.input_shape)
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    # On a network that it cannot follow the exporter prints all it has seen of it.
    with redirect_stderr(io.StringIO()):
        exported = torch.export.export(network.module, (example,), dynamic_shapes=({0: batch},))
    graph = exported.graph
    graph.eliminate_dead_code()  # what only other outputs need, before any of it works in place
    names = _placeholder_names(exported)
    folded = _fold_norms(graph, names, network)
    _free_depthwise(graph, names, network)
    convolve_shortcuts(graph, _shortcut_strides(names, network))
    _write_in_place(graph)
    fuse_convolutions(graph)
    if rounds_inputs:
        round_layer_inputs(graph, names)
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        if node.op == "placeholder" and node in names and not node.users:
            graph.erase_node(node)
    _unwrap_output(graph)
    inputs = _images_first(graph, names)
    graph.lint()
    return Program(fx.GraphModule(torch.nn.Module(), _of_no_tracer(graph)), inputs, folded)


def _of_no_tracer(graph: fx.Graph) -> fx.Graph:
    """Copy a graph: one that remembers the exporter's tracer cannot be sent to a process."""
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    return copy


def _placeholder_names(exported: torch.export.ExportedProgram) -> dict[fx.Node, str]:
    """Map placeholders of tensors (not of the images) to their names in the module."""
    names: dict[fx.Node, str] = {}
    signature = exported.graph_signature
    for node in exported.graph.nodes:
        if node.op != "placeholder":
            continue
        if is_param(exported, node):
            names[node] = signature.inputs_to_parameters[node.name]
        elif is_buffer(exported, node):
            names[node] = signature.inputs_to_buffers[node.name]
        elif is_lifted_tensor_constant(exported, node):
            names[node] = signature.inputs_to_lifted_tensor_constants[node.name]
    return names


def _fold_norms(graph: fx.Graph, names: dict[fx.Node, str], network: Network) -> dict[str, str]:
    """Drop each batch norm that directly follows a dense layer; give the layer a bias for it."""
    folded: dict[str, str] = {}
    biases: dict[str, fx.Node] = {}
    first = next(iter(graph.nodes))
    for node in list(graph.nodes):
        if node.target is not aten.batch_norm.default or node.args[5]:
            continue
        layer_call = node.args[0]
        if layer_call.target not in _DENSE or len(layer_call.users) != 1:
            continue
        layer = names[layer_call.args[1]].rpartition(".")[0]
        norm = names[node.args[3]].rpartition(".")[0]
        if network.plan.norm_after.get(layer) != norm:
            continue
        if layer not in folded:
            with graph.inserting_before(first):
                biases[layer] = graph.placeholder(f"folded_bias_{len(folded)}")
            names[biases[layer]] = f"{layer}.folded_bias"
        arguments: list[Any] = [*layer_call.args, None][:3] + list(layer_call.args[3:])
        arguments[2] = biases[layer]
        layer_call.args = tuple(arguments)
        node.replace_all_uses_with(layer_call)
        graph.erase_node(node)
        folded[layer] = norm
    return folded


def _shortcut_strides(names: dict[fx.Node, str], network: Network) -> dict[fx.Node, int]:
    """Map the placeholders of zero-pad shortcuts' channel maps to the shortcuts' strides."""
    found: dict[fx.Node, int] = {}
    for node, name in names.items():
        member = network.module.get_submodule(name.rpartition(".")[0])
        if isinstance(member, ZeroPadShortcut) and name.endswith(".source"):
            found[node] = member.stride
    return found


def _free_depthwise(graph: fx.Graph, names: dict[fx.Node, str], network: Network) -> None:
    """Let depthwise convolutions read their group count from their weight."""
    depthwise = {
        layer.weight
        for layer in network.graph.layers
        if layer.is_depthwise and layer.in_channels == layer.out_channels
    }
    for node in list(graph.nodes):
        if node.target in _DENSE and names.get(node.args[1]) in depthwise:
            with graph.inserting_before(node):
                channels = graph.call_function(aten.sym_size.int, (node.args[1], 0))
            node.args = (*node.args[:6], channels)


def _write_in_place(graph: fx.Graph) -> None:
    """Let activations and sums overwrite their operand where nobody reads it again."""
    fresh: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        replacement = _IN_PLACE.get(node.target)
        if replacement is aten.add_.Tensor:
            _put_free_first(node, fresh)
        operand = node.args[0] if node.args else None
        is_free = _is_free(operand, fresh)
        if is_free and replacement is not None and _same_shape(node, operand):
            node.target = replacement
            fresh.add(node)
        # What the network itself overwrites may have readers under its first name.
        elif node.target in _FRESH or (is_free and node.target in _IN_PLACE.values()):
            fresh.add(node)


def _is_free(operand: Any, fresh: set[fx.Node]) -> bool:
    """Say whether an operand may be overwritten by its only reader."""
    return operand in fresh and len(operand.users) == 1


def _put_free_first(node: fx.Node, fresh: set[fx.Node]) -> None:
    """Swap the terms of a sum if only the second may be overwritten."""
    first, second = node.args
    if not _is_free(first, fresh) and _is_free(second, fresh) and not node.kwargs:
        node.args = (second, first)


def _same_shape(node: fx.Node, operand: Any) -> bool:
    """Say whether the result has the operand's shape (sums may broadcast)."""
    result, before = node.meta.get("val"), operand.meta.get("val")
    return result is None or before is None or result.shape == before.shape


def _unwrap_output(graph: fx.Graph) -> None:
    output = next(node for node in graph.nodes if node.op == "output")
    results = output.args[0]
    output.args = (results[0] if isinstance(results, (tuple, list)) else results,)


def _images_first(graph: fx.Graph, names: dict[fx.Node, str]) -> tuple[str, ...]:
    """Put the images' placeholder first; return the names of the others in their order."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    images = [node for node in placeholders if node not in names]
    if len(images) != 1:
        raise ValueError(f"the network takes {len(images)} inputs; one is allowed")
    if placeholders[0] is not images[0]:
        placeholders[0].prepend(images[0])
    return tuple(names[node] for node in placeholders if node is not images[0])
