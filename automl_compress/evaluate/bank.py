"""The parameter bank: every tensor of the uncut network, laid out for fast slicing.

Building a candidate is one gather for each cut axis, on NumPy arrays: most tensors are so small
that calling torch would take longer than the copy. Dense weights lie with the input channels
last, so that a sliced weight is in the channels-last layout without another copy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.layer_weights import compressed_weights
from automl_compress.compress.quantised_network import norm_scale_and_shift
from automl_compress.compress.reconstruction import (
    TABLE_BYTES,
    Reconstruction,
    SolvedLayer,
    kernel_major,
)
from automl_compress.compress.tabulation import Tabulation
from automl_compress.core import LayerChoice
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.program import Program
from automl_compress.evaluate.rounding import NO_GRID, grid_tensor
from automl_compress.networks.coupling import SOURCE_VALUES
from automl_compress.networks.plan import renumber_sources
from automl_compress.networks.surgery import tensors_of
from automl_compress.networks.trace import Network

NOTHING = torch.empty(0)
_NORM = ("running_mean", "running_var", "weight", "bias")
# A dense layer's weight (outputs, *kernel, inputs) and bias (outputs,), norm folded in.
Folded = tuple[np.ndarray, np.ndarray | None]
# Kept entries of each distinct axis, None where all are; the last is None.
Chosen = Sequence[np.ndarray | None]


@dataclass(frozen=True, slots=True)
class _LayerSlot:
    """Where a dense layer's tensors stand in the program, and which axes cut them.

    weight, bias: positions among the program's inputs; -1 for no bias.
    outputs, inputs: places in the plan's `chosen`; -1, the None behind the last, for none.
    order: where each axis of the program's weight stands in the folded one.
    """

    layer: str
    weight: int
    bias: int
    outputs: int
    inputs: int
    order: tuple[int, ...]
    full: Folded
    is_solved: bool

    def outputs_whole(self) -> "_LayerSlot":
        """Return the slot of the same layer with all of its outputs."""
        return replace(self, outputs=-1)

    def place(self, folded: Folded, bound: list[Tensor]) -> None:
        """Put weight, in the channels-last layout, and bias among the program's tensors."""
        weight, bias = folded
        bound[self.weight] = torch.from_numpy(weight.transpose(self.order))
        if bias is not None:
            bound[self.bias] = torch.from_numpy(bias)


@dataclass(frozen=True, slots=True)
class _OtherSlot:
    """A tensor that is neither weight nor bias of a dense layer: norms, shortcut maps ..."""

    place: int
    tensor: np.ndarray
    axes: tuple[tuple[int, int], ...]  # (axis, place in the plan's `chosen`)
    sources: int  # place in `chosen` of the input channels that a shortcut's map names, or -1
    inputs: int  # of the shortcut


class ParameterBank:
    """Binds a program's tensors for any selection of channels."""

    def __init__(
        self,
        network: Network,
        program: Program,
        reconstruction: Reconstruction | None = None,
        grids: InputGrids | None = None,
    ) -> None:
        """Fold the norms and lay the weights out.

        Args:
            network: a traced network.
            program: compiled from it.
            reconstruction: gives the weights of layers that lose inputs; None slices them.
            grids: of layer inputs, where the program rounds them.
        """
        self._network, self._program, self._reconstruction = network, program, reconstruction
        self._grids = grids
        self._tensors = tensors_of(network.module)
        dense = {layer.weight for layer in network.graph.layers if layer.kind != "other"}
        position = {name: index for index, name in enumerate(program.inputs)}
        self._layer_slots = [
            self._layer_slot(name.rpartition(".")[0], position)
            for name in program.inputs
            if name in dense
        ]
        self._grid_places = {
            name.rpartition(".")[0]: index
            for name, index in position.items()
            if name.endswith(".input_grid")
        }
        bound = {slot.weight for slot in self._layer_slots} | {
            slot.bias for slot in self._layer_slots
        }
        bound |= set(self._grid_places.values())
        self._other_slots = [
            self._other_slot(name, index) for name, index in position.items() if index not in bound
        ]
        self._solved = Tabulation[Folded](TABLE_BYTES, _bytes_of)
        self._new_weights = Tabulation[Folded](TABLE_BYTES, _bytes_of)

    def bind(self, candidate: Candidate) -> list[Tensor]:
        """Return the program's tensors for a candidate."""
        chosen: Chosen = [*self._network.plan.chosen(candidate.kept), None]
        bound: list[Tensor] = [NOTHING] * len(self._program.inputs)
        for slot in self._layer_slots:
            choice = candidate.layers.get(slot.layer)
            if choice is not None and choice.changes_weights:
                slot.place(self._compressed(slot, chosen, choice), bound)
            else:
                slot.place(self._cut(slot, chosen), bound)
        for slot in self._other_slots:
            bound[slot.place] = torch.from_numpy(self._cut_other(slot, chosen))
        self._bind_grids(candidate, bound)
        return bound

    def bind_tensors(
        self, tensors: Mapping[str, Tensor], layers: Mapping[str, LayerChoice]
    ) -> list[Tensor]:
        """Return the program's tensors for a cut network's own tensors, by name."""
        bound = [tensors.get(name, NOTHING) for name in self._program.inputs]
        for slot in self._layer_slots:
            weight, bias = self._fold(slot.layer, tensors)
            choice = layers.get(slot.layer)
            if choice is not None and choice.changes_weights:
                weight = _compressed(weight, choice)
            slot.place((weight, bias), bound)
        self._bind_grids(Candidate((), layers), bound)
        return bound

    def _bind_grids(self, candidate: Candidate, bound: list[Tensor]) -> None:
        for layer, place in self._grid_places.items():
            choice = candidate.layers.get(layer)
            bound[place] = NO_GRID
            if choice is not None and choice.rounds_inputs:
                assert self._grids is not None  # a program that rounds has them
                bound[place] = grid_tensor(self._grids.of(layer, choice.activation_bits))

    def _compressed(self, slot: _LayerSlot, chosen: Chosen, choice: LayerChoice) -> Folded:
        """Return the cut layer with new weights; what depends on no output is tabulated.

        Grids belong to single outputs, so that all are quantised at once and then cut; but which
        weights become zero depends on all that are left, and so does one grid for all.
        """
        inputs, outputs = chosen[slot.inputs], chosen[slot.outputs]
        if choice.sparsity or choice.weight_scales == "tensor":
            weight, bias = self._cut(slot, chosen)
            return _compressed(weight, choice), bias
        whole = slot.outputs_whole()

        def compute() -> Folded:
            weight, bias = self._cut(whole, chosen)
            return _compressed(weight, choice), bias

        entries = None if inputs is None else inputs.tobytes()
        key = slot.layer, entries, choice.weight_bits, choice.quantiser
        weight, bias = self._new_weights.get(key, compute)
        if outputs is not None:
            weight = _take(weight, 0, outputs)
            bias = None if bias is None else _take(bias, 0, outputs)
        return weight, bias

    def _layer_slot(self, layer: str, position: Mapping[str, int]) -> _LayerSlot:
        name = f"{layer}.weight"
        place = self._network.plan.place
        last = self._tensors[name].dim() - 1
        bias_name = f"{layer}.folded_bias" if layer in self._program.folded else f"{layer}.bias"
        is_solved = self._reconstruction is not None and layer in self._reconstruction.layers
        return _LayerSlot(
            layer=layer,
            weight=position[name],
            bias=position.get(bias_name, -1),
            outputs=place.get((name, 0), -1),
            inputs=place.get((name, 1), -1),
            order=(0, last, *range(1, last)),
            full=self._fold(layer, self._tensors),
            is_solved=is_solved,
        )

    def _other_slot(self, name: str, index: int) -> _OtherSlot:
        plan = self._network.plan
        axes = tuple(
            (axis, plan.place[name, axis])
            for axis in range(self._tensors[name].dim())
            if (name, axis) in plan.place
        )
        values = (name, SOURCE_VALUES)
        return _OtherSlot(
            place=index,
            tensor=self._tensors[name].numpy(),
            axes=axes,
            sources=plan.place.get(values, -1),
            inputs=len(plan.axes.get(values, ())),
        )

    def _fold(
        self, layer: str, tensors: Mapping[str, Tensor], solved: SolvedLayer | None = None
    ) -> Folded:
        weight = kernel_major(tensors[f"{layer}.weight"]) if solved is None else solved.weight
        bias = tensors.get(f"{layer}.bias") if solved is None else solved.bias
        norm = self._program.folded.get(layer)
        shape = self._tensors[f"{layer}.weight"].shape
        if norm is None:
            return _positioned(weight, shape), None if bias is None else bias.numpy()
        member: Any = self._network.module.get_submodule(norm)
        parts = {part: tensors[f"{norm}.{part}"] for part in _NORM if f"{norm}.{part}" in tensors}
        if solved is not None and solved.norm_mean is not None:
            assert solved.norm_variance is not None
            parts |= {"running_mean": solved.norm_mean, "running_var": solved.norm_variance}
        scale, shift = norm_scale_and_shift(member, parts)
        if bias is not None:
            shift = shift + bias * scale
        return _positioned(weight * scale[:, None, None], shape), shift.numpy()

    def _cut(self, slot: _LayerSlot, chosen: Chosen) -> Folded:
        inputs, outputs = chosen[slot.inputs], chosen[slot.outputs]
        weight, bias = slot.full
        if inputs is not None and slot.is_solved:
            weight, bias = self._solution(slot.layer, inputs)
            inputs = None
        if outputs is not None:
            weight = _take(weight, 0, outputs)  # whole rows, so first of the two
            bias = None if bias is None else _take(bias, 0, outputs)
        if inputs is not None:
            weight = _take(weight, weight.ndim - 1, inputs)
        return weight, bias

    def _solution(self, layer: str, inputs: np.ndarray) -> Folded:
        """Return the solved and folded layer for these inputs, from the table."""
        reconstruction = self._reconstruction
        assert reconstruction is not None
        return self._solved.get(
            (layer, inputs.tobytes()),
            lambda: self._fold(
                layer, self._tensors, reconstruction.solve(layer, torch.from_numpy(inputs))
            ),
        )

    def _cut_other(self, slot: _OtherSlot, chosen: Chosen) -> np.ndarray:
        array = slot.tensor
        for axis, place in slot.axes:
            entries = chosen[place]
            if entries is not None:
                array = _take(array, axis, entries)
        sources = chosen[slot.sources]
        return array if sources is None else renumber_sources(array, slot.inputs, sources)


def _compressed(weight: np.ndarray, choice: LayerChoice) -> np.ndarray:
    return compressed_weights(torch.from_numpy(weight), choice).values.numpy()


def _positioned(weight: Tensor, shape: torch.Size) -> np.ndarray:
    """Return a kernel-major weight as (outputs, *kernel, inputs); `shape` is the module's."""
    return weight.contiguous().numpy().reshape(len(weight), *shape[2:], -1)


def _take(array: np.ndarray, axis: int, entries: np.ndarray) -> np.ndarray:
    # The default mode checks the entries and copies twice.
    return array.take(entries, axis=axis, mode="clip")


def _bytes_of(layer: Folded) -> int:
    return sum(array.nbytes for array in layer if array is not None)
