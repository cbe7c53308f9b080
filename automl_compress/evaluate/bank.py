"""The parameter bank: every tensor of the uncut network, laid out for fast slicing.

Building a candidate is one `index_select` for each cut axis. Dense weights lie with the input
channels last, so that a sliced weight is in the channels-last layout without another copy.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from automl_compress.compress.reconstruction import (
    Reconstruction,
    SolvedLayer,
    from_kernel_major,
    kernel_major,
)
from automl_compress.evaluate.program import Program
from automl_compress.networks.coupling import SOURCE_VALUES
from automl_compress.networks.plan import renumber_sources
from automl_compress.networks.surgery import tensors_of
from automl_compress.networks.trace import Network

FOLDED_BIAS = ".folded_bias"


class ParameterBank:
    """Binds a program's tensors for any selection of channels."""

    def __init__(
        self, network: Network, program: Program, reconstruction: Reconstruction | None = None
    ) -> None:
        """Fold the norms and lay the weights out.

        Args:
            network: a traced network.
            program: compiled from it.
            reconstruction: gives the weights of layers that lose inputs; None slices them.
        """
        self._network, self._program, self._reconstruction = network, program, reconstruction
        self._tensors = tensors_of(network.module)
        self._layers = {
            name.rpartition(".")[0]: self._tensors[name].shape
            for name in program.inputs
            if name in {layer.weight for layer in network.graph.layers if layer.kind != "other"}
        }
        self._full = {layer: self._fold(layer, self._tensors) for layer in self._layers}
        self._solved: dict[tuple[str, bytes], tuple[Tensor, Tensor | None]] = {}

    def bind(self, kept: Sequence[Tensor]) -> list[Tensor]:
        """Return the program's tensors for these kept channels of each group."""
        plan = self._network.plan
        mask = plan.mask(kept)
        selections = plan.selections(mask)
        bound: dict[str, Tensor] = {}
        for layer in self._layers:
            self._bind_layer(layer, selections, bound)
        for name in self._program.inputs:
            if name not in bound:
                bound[name] = self._bind_other(name, selections, mask)
        return [bound[name] for name in self._program.inputs]

    def bind_tensors(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the program's tensors for a cut network's own tensors, by name."""
        bound: dict[str, Tensor] = {}
        for layer, shape in self._layers.items():
            weight, bias = self._fold(layer, tensors)
            self._place(layer, from_kernel_major(weight, shape), bias, bound)
        return [bound.get(name, tensors.get(name)) for name in self._program.inputs]  # type: ignore[misc]

    def _fold(
        self, layer: str, tensors: Mapping[str, Tensor], solved: SolvedLayer | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return a layer's kernel-major weight and bias with its norm folded in."""
        weight = kernel_major(tensors[f"{layer}.weight"]) if solved is None else solved.weight
        bias = tensors.get(f"{layer}.bias") if solved is None else solved.bias
        norm = self._program.folded.get(layer)
        if norm is None:
            return weight, bias
        member = self._network.module.get_submodule(norm)
        mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
        if solved is not None and solved.norm_mean is not None:
            mean, variance = solved.norm_mean, solved.norm_variance
            bias = None  # the solved mean is that of the outputs without their bias
        scale = torch.rsqrt(variance + member.eps)
        if f"{norm}.weight" in tensors:
            scale = scale * tensors[f"{norm}.weight"]
        shift = -mean * scale if bias is None else (bias - mean) * scale
        if f"{norm}.bias" in tensors:
            shift = shift + tensors[f"{norm}.bias"]
        return (weight * scale[:, None, None]).contiguous(), shift

    def _bind_layer(
        self, layer: str, selections: Mapping[tuple[str, int], Tensor], bound: dict[str, Tensor]
    ) -> None:
        inputs = selections.get((f"{layer}.weight", 1))
        outputs = selections.get((f"{layer}.weight", 0))
        weight, bias = self._full[layer]
        is_solved = self._reconstruction is not None and layer in self._reconstruction.layers
        if inputs is not None and is_solved:
            weight, bias = self._solution(layer, inputs)
            inputs = None
        if outputs is not None:
            weight = weight.index_select(0, outputs)
            bias = None if bias is None else bias.index_select(0, outputs)
        if inputs is not None:
            weight = weight.index_select(2, inputs)
        self._place(layer, from_kernel_major(weight, self._layers[layer]), bias, bound)

    def _place(
        self, layer: str, weight: Tensor, bias: Tensor | None, bound: dict[str, Tensor]
    ) -> None:
        bound[f"{layer}.weight"] = weight
        if bias is not None:
            name = FOLDED_BIAS if layer in self._program.folded else ".bias"
            bound[layer + name] = bias

    def _solution(self, layer: str, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the solved and folded layer for these inputs, from the table."""
        assert self._reconstruction is not None
        key = (layer, inputs.numpy().tobytes())
        if key not in self._solved:
            solved = self._reconstruction.solve(layer, inputs)
            self._solved[key] = self._fold(layer, self._tensors, solved)
        return self._solved[key]

    def _bind_other(
        self, name: str, selections: Mapping[tuple[str, int], Tensor], mask: Tensor
    ) -> Tensor:
        tensor = self._tensors[name]
        for axis in range(tensor.dim()):
            entries = selections.get((name, axis))
            if entries is not None:
                tensor = tensor.index_select(axis, entries)
        numbers = self._network.plan.axes.get((name, SOURCE_VALUES))
        return tensor if numbers is None else renumber_sources(tensor, mask[numbers])
