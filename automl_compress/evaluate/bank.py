"""The parameter bank: every tensor of the uncut network, laid out for fast slicing.

Building a candidate is one `index_select` for each cut axis. Dense weights lie with the input
channels last, so that a sliced weight is in the channels-last layout without another copy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from automl_compress.compress.reconstruction import (
    TABLE_BYTES,
    Reconstruction,
    SolvedLayer,
    from_kernel_major,
    kernel_major,
)
from automl_compress.compress.tabulation import Tabulation
from automl_compress.evaluate.program import Program
from automl_compress.networks.coupling import SOURCE_VALUES
from automl_compress.networks.plan import renumber_sources, take
from automl_compress.networks.surgery import tensors_of
from automl_compress.networks.trace import Network

NOTHING = torch.empty(0)


@dataclass(frozen=True, slots=True)
class _LayerSlot:
    """Where a dense layer's tensors stand in the program, and which axes cut them.

    weight, bias: positions among the program's inputs; -1 for no bias.
    outputs, inputs: places in the plan's `chosen`; -1, the None behind the last, for none.
    full: the uncut kernel-major weight and bias, with the norm folded in.
    """

    layer: str
    weight: int
    bias: int
    outputs: int
    inputs: int
    shape: torch.Size
    full: tuple[Tensor, Tensor | None]
    is_solved: bool


@dataclass(frozen=True, slots=True)
class _OtherSlot:
    """A tensor that is neither weight nor bias of a dense layer: norms, shortcut maps ..."""

    place: int
    tensor: Tensor
    axes: tuple[tuple[int, int], ...]  # (axis, place in the plan's `chosen`)
    sources: Tensor | None  # channel numbers of a shortcut's input


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
        dense = {layer.weight for layer in network.graph.layers if layer.kind != "other"}
        position = {name: index for index, name in enumerate(program.inputs)}
        self._layer_slots = [
            self._layer_slot(name.rpartition(".")[0], position)
            for name in program.inputs
            if name in dense
        ]
        bound = {slot.weight for slot in self._layer_slots} | {
            slot.bias for slot in self._layer_slots
        }
        self._other_slots = [
            self._other_slot(name, index) for name, index in position.items() if index not in bound
        ]
        self._solved = Tabulation[tuple[Tensor, Tensor | None]](TABLE_BYTES, _bytes_of)

    def bind(self, kept: Sequence[Tensor]) -> list[Tensor]:
        """Return the program's tensors for these kept channels of each group."""
        mask = self._network.plan.mask(kept)
        chosen: list[Tensor | None] = [*self._network.plan.chosen(mask), None]
        bound: list[Tensor] = [NOTHING] * len(self._program.inputs)
        for slot in self._layer_slots:
            weight, bias = self._cut(slot, chosen)
            bound[slot.weight] = from_kernel_major(weight, slot.shape)
            if bias is not None:
                bound[slot.bias] = bias
        for slot in self._other_slots:
            bound[slot.place] = self._cut_other(slot, chosen, mask)
        return bound

    def bind_tensors(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the program's tensors for a cut network's own tensors, by name."""
        bound = [tensors.get(name, NOTHING) for name in self._program.inputs]
        for slot in self._layer_slots:
            weight, bias = self._fold(slot.layer, tensors)
            bound[slot.weight] = from_kernel_major(weight, slot.shape)
            if bias is not None:
                bound[slot.bias] = bias
        return bound

    def _layer_slot(self, layer: str, position: Mapping[str, int]) -> _LayerSlot:
        name = f"{layer}.weight"
        place = self._network.plan.place
        weight, bias = self._fold(layer, self._tensors)
        bias_name = f"{layer}.folded_bias" if layer in self._program.folded else f"{layer}.bias"
        is_solved = self._reconstruction is not None and layer in self._reconstruction.layers
        return _LayerSlot(
            layer=layer,
            weight=position[name],
            bias=position.get(bias_name, -1),
            outputs=place.get((name, 0), -1),
            inputs=place.get((name, 1), -1),
            shape=self._tensors[name].shape,
            full=(weight, bias),
            is_solved=is_solved,
        )

    def _other_slot(self, name: str, index: int) -> _OtherSlot:
        plan = self._network.plan
        axes = tuple(
            (axis, plan.place[name, axis])
            for axis in range(self._tensors[name].dim())
            if (name, axis) in plan.place
        )
        return _OtherSlot(index, self._tensors[name], axes, plan.axes.get((name, SOURCE_VALUES)))

    def _fold(
        self, layer: str, tensors: Mapping[str, Tensor], solved: SolvedLayer | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return a layer's kernel-major weight and bias with its norm folded in."""
        weight = kernel_major(tensors[f"{layer}.weight"]) if solved is None else solved.weight
        bias = tensors.get(f"{layer}.bias") if solved is None else solved.bias
        norm = self._program.folded.get(layer)
        if norm is None:
            return weight, bias
        member: Any = self._network.module.get_submodule(norm)
        mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
        if solved is not None and solved.norm_mean is not None:
            mean, variance = solved.norm_mean, solved.norm_variance
        scale = torch.rsqrt(variance + member.eps)
        if f"{norm}.weight" in tensors:
            scale = scale * tensors[f"{norm}.weight"]
        shift = -mean * scale if bias is None else (bias - mean) * scale
        if f"{norm}.bias" in tensors:
            shift = shift + tensors[f"{norm}.bias"]
        return (weight * scale[:, None, None]).contiguous(), shift

    def _cut(
        self, slot: _LayerSlot, chosen: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the kernel-major weight and the bias of a layer that keeps these entries."""
        inputs, outputs = chosen[slot.inputs], chosen[slot.outputs]
        weight, bias = slot.full
        if inputs is not None and slot.is_solved:
            weight, bias = self._solution(slot.layer, inputs)
            inputs = None
        if outputs is not None:
            weight = take(weight, 0, outputs)
            bias = None if bias is None else take(bias, 0, outputs)
        if inputs is not None:
            weight = take(weight, 2, inputs)
        return weight, bias

    def _solution(self, layer: str, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the solved and folded layer for these inputs, from the table."""
        reconstruction = self._reconstruction
        assert reconstruction is not None
        return self._solved.get(
            (layer, inputs.numpy().tobytes()),
            lambda: self._fold(layer, self._tensors, reconstruction.solve(layer, inputs)),
        )

    def _cut_other(self, slot: _OtherSlot, chosen: Sequence[Tensor | None], mask: Tensor) -> Tensor:
        tensor = slot.tensor
        for axis, place in slot.axes:
            entries = chosen[place]
            if entries is not None:
                tensor = take(tensor, axis, entries)
        return tensor if slot.sources is None else renumber_sources(tensor, mask[slot.sources])


def _bytes_of(layer: tuple[Tensor, Tensor | None]) -> int:
    return sum(tensor.nbytes for tensor in layer if tensor is not None)
