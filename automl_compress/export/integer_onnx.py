"""ONNX files whose quantised layers an engine computes in integers.

The exporter writes a rounded input as multiplication, rounding, clipping and multiplication in
float32, and weights on a grid as float32. Here the first become `QuantizeLinear` and
`DequantizeLinear`, and the second int8 codes with `DequantizeLinear`: the form in which engines
recognise what they can compute in int8. Scales and codes are those of the network, so that
nothing is quantised anew.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from automl_compress.export.engines import require

_LAYERS = {"Conv": 0, "Gemm": 0, "MatMul": 1}  # the axis of outputs in the weight
_RECTIFIERS = {"Relu", "Clip", "Sigmoid", "HardSigmoid"}
_CODES = 127  # of either sign
# Two products with uint8 fit in 16 bits, in which OpenVINO adds them where a processor lacks VNNI.
_SAFE_CODES = 63
_ON_GRID = 1e-3  # how far a weight may be from its code, in steps of the grid
_BATCH = 1 << 16  # weights that are compared with all grids at once


def with_integer_layers(
    content: bytes, *, has_integer_biases: bool = False
) -> tuple[bytes, tuple[str, ...]]:
    """Rewrite an ONNX file.

    A layer is rewritten where its input is rounded to at most 256 codes, and its weights lie on
    a grid of at most 8 bits, for each output or for all. Inputs become uint8, as kernels of x86
    want them, with a zero point of 128 where they have a sign.

    Args:
        content: the file, of the project's own exporter.
        has_integer_biases: whether biases become int32, in units of the sums that they are added
            to. ONNX Runtime asks for it; the rounding moves an output by half a unit at most,
            which may decide between two codes of the next layer.

    Returns:
        The file, and the names of the weights of its integer layers in their order.

    Raises:
        InvalidInput: onnx is not installed.
    """
    onnx = require("onnx", "an ONNX file")
    model = onnx.load_model_from_string(content)
    rewriting = _Rewriting(model.graph, onnx, has_integer_biases)
    names = tuple(rewriting.rewrite_layers())
    if names:
        rewriting.leave_out_unused()
        onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True), names


def with_made_up_codes(
    content: bytes, layers: Collection[str], *, has_integer_biases: bool = False
) -> bytes:
    """Rewrite layers of a float ONNX file to int8, for the sake of their time alone.

    Args:
        content: the file, of the project's own exporter.
        layers: module paths; weights get the largest scales, inputs any. Inputs behind a
            rectifier have a zero point of 0, as those of a real network have.
        has_integer_biases: as `with_integer_layers` takes it.
    """
    onnx = require("onnx", "an ONNX file")
    model = onnx.load_model_from_string(content)
    rewriting = _Rewriting(model.graph, onnx, has_integer_biases)
    rewriting.make_up({f"{layer}.weight" for layer in layers})
    return model.SerializeToString(deterministic=True)


@dataclass(frozen=True)
class _Rounding:
    """A rounded input: `nodes` from the first multiplication to the second.

    lowest, highest: codes.
    """

    nodes: tuple[Any, ...]
    source: str
    scale: np.float32
    lowest: int
    highest: int

    @property
    def zero_point(self) -> int:
        return 128 if self.lowest < 0 else 0

    @property
    def has_all_codes(self) -> bool:
        """Whether the input takes all codes that uint8 has."""
        return (self.lowest + self.zero_point, self.highest + self.zero_point) == (0, 255)


class _Rewriting:
    """One graph that is being rewritten."""

    def __init__(self, graph: Any, onnx: Any, has_integer_biases: bool) -> None:
        self._graph, self._onnx, self._has_integer_biases = graph, onnx, has_integer_biases
        self._constants = {each.name: each for each in graph.initializer}
        self._makers = {output: node for node in graph.node for output in node.output}
        self._quantised: dict[str, _Rounding] = {}

    def rewrite_layers(self) -> Iterator[str]:
        for node in list(self._graph.node):
            axis = _LAYERS.get(node.op_type)
            if axis is None or node.input[1] not in self._constants:
                continue
            rounding = self._quantised.get(node.input[0]) or self._rounding(node.input[0])
            if rounding is None:
                continue
            name = node.input[1]
            grid = weight_grid(self._value(name), axis)
            if grid is None:
                continue
            self._quantise_input(node.input[0], rounding)
            self._quantise_terms(node, grid, axis, rounding.scale)
            yield name

    def make_up(self, weights: Collection[str]) -> None:
        """Rewrite the layers of these weights, whatever they lie on."""
        scale = np.float32(1 / 32)
        for node in list(self._graph.node):
            axis = _LAYERS.get(node.op_type)
            if axis is None or node.input[1] not in weights:
                continue
            value = self._value(node.input[1])
            others = tuple(place for place in range(value.ndim) if place != axis)
            scales = np.abs(value).max(axis=others, keepdims=True) / _CODES
            scales[scales == 0] = 1.0
            codes = np.rint(value / scales).astype(np.int8)
            rounded = f"{node.input[1]}_input"
            place = list(self._graph.node).index(node)
            maker = self._makers.get(node.input[0])
            is_rectified = maker is not None and maker.op_type in _RECTIFIERS
            zero_point = 0 if is_rectified else 128
            self._put_codes(place, node.input[0], rounded, (scale, zero_point))
            node.input[0] = rounded
            self._quantise_terms(node, (codes, scales.ravel()), axis, scale)

    def leave_out_unused(self) -> None:
        """Drop the constants that nothing reads any more."""
        used = {name for node in self._graph.node for name in node.input}
        kept = [each for each in self._graph.initializer if each.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _value(self, name: str) -> np.ndarray:
        return self._onnx.numpy_helper.to_array(self._constants[name])

    def _scalar(self, name: str) -> np.float32 | None:
        if name not in self._constants or self._constants[name].dims:
            return None
        return np.float32(self._value(name))

    def _rounding(self, name: str) -> _Rounding | None:
        """Read the four operators of a rounded input backwards."""
        nodes: list[Any] = []
        for kind in ("Mul", "Clip", "Round", "Mul"):
            node = self._makers.get(name)
            if node is None or node.op_type != kind:
                return None
            nodes.insert(0, node)
            name = node.input[0]
        first, _, clip, last = nodes
        found = [self._scalar(each) for each in (first.input[1], *clip.input[1:3], last.input[1])]
        if len(found) != 4 or any(each is None for each in found):
            return None
        _, lowest, highest, scale = (float(each) for each in found if each is not None)
        if highest - lowest > 255 or lowest < -128 or highest > 255:
            return None
        return _Rounding(tuple(nodes), name, np.float32(scale), int(lowest), int(highest))

    def _add(self, name: str, array: np.ndarray) -> str:
        if name not in self._constants:
            tensor = self._onnx.numpy_helper.from_array(array, name)
            self._graph.initializer.append(tensor)
            self._constants[name] = tensor
        return name

    def _quantise_input(self, name: str, rounding: _Rounding) -> None:
        """Put the two operators that engines know in the place of the four, once.

        Where fewer codes are allowed they come behind the four and change nothing: OpenVINO
        stretches its 256 codes over what a `Clip` before them lets through.
        """
        if name in self._quantised:
            return
        source, last = rounding.source, rounding.nodes[-1]
        if not rounding.has_all_codes:
            source = last.output[0] = f"{name}_rounded"
        place = list(self._graph.node).index(last) + 1
        self._put_codes(place, source, name, (rounding.scale, rounding.zero_point))
        if rounding.has_all_codes:
            for node in rounding.nodes:
                self._graph.node.remove(node)
        self._quantised[name] = rounding

    def _put_codes(
        self, place: int, source: str, result: str, grid: tuple[np.float32, int]
    ) -> None:
        """Insert what rounds a value to uint8 and back; grid: scale and zero point."""
        make, codes = self._onnx.helper.make_node, f"{result}_codes"
        told = [
            self._add(f"{result}_scale", np.array(grid[0])),
            self._add(f"{result}_zero_point", np.array(grid[1], dtype=np.uint8)),
        ]
        self._graph.node.insert(place, make("QuantizeLinear", [source, *told], [codes]))
        self._graph.node.insert(place + 1, make("DequantizeLinear", [codes, *told], [result]))

    def _quantise_terms(
        self, node: Any, grid: tuple[np.ndarray, np.ndarray], axis: int, input_scale: np.float32
    ) -> None:
        """Give a layer its weights as codes, and its bias where that is wanted."""
        node.input[1] = self._dequantised(node.input[1], *grid, axis)
        has_bias = len(node.input) > 2 and node.input[2] in self._constants
        if has_bias and self._has_integer_biases:
            node.input[2] = self._quantise_bias(node.input[2], grid[1] * input_scale)

    def _quantise_bias(self, name: str, scales: np.ndarray) -> str:
        """Write a bias in units of the sums that it is added to; too large ones stay float."""
        codes = np.rint(self._value(name).astype(np.float64) / scales)
        if np.abs(codes).max(initial=0) >= 2**31:
            return name
        return self._dequantised(name, codes.astype(np.int32), scales, 0)

    def _dequantised(self, name: str, codes: np.ndarray, scales: np.ndarray, axis: int) -> str:
        result = f"{name}_dequantised"
        if result not in self._makers:
            inputs = [self._add(f"{name}_codes", codes), self._add(f"{name}_scales", scales)]
            make = self._onnx.helper.make_node
            node = make("DequantizeLinear", inputs, [result], axis=axis)
            self._graph.node.insert(0, node)
            self._makers[result] = node
        return result


def weight_grid(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Find the grid that weights lie on: one for all, or else one for each output.

    It is the finest with at most 63 codes of either sign.

    A coarser one would do for the weights, but its sums would round the bias more. Only what lies
    on no such grid, as 8 bits do, takes up to 127 codes, whose sums may overflow on old processors.

    Args:
        weight: float32.
        axis: of the outputs.

    Returns:
        int8 codes, of the weight's shape, and float32 scales, () or (outputs,), which multiplied
        give the weights up to 0.001 of a scale; None where an output's lie on no such grid.
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    scales = np.ones(len(rows))
    for place in np.flatnonzero(largest):
        found = _scale(rows[place], largest[place])
        if found is None:
            return None
        scales[place] = found
    shape = [1] * weight.ndim
    shape[axis] = -1
    codes = np.rint(weight / scales.reshape(shape)).astype(np.int8)
    whole = _scale(rows.ravel(), largest.max()) if len(rows) > 1 and codes.any() else None
    if whole is None or largest.max() / whole > _SAFE_CODES + 0.5 > np.abs(codes).max():
        return codes, scales.astype(np.float32)
    return np.rint(weight / whole).astype(np.int8), np.array(whole, dtype=np.float32)


def _scale(row: np.ndarray, largest: float) -> float | None:
    """Return the scale of some weights' grid, by the order of `weight_grid`; None without one."""
    candidates = largest / np.arange(1, _CODES + 1)
    values = np.unique(row)
    for start in range(0, len(values), _BATCH // _CODES):
        steps = values[start : start + _BATCH // _CODES, None] / candidates
        candidates = candidates[(np.abs(steps - np.rint(steps)) < _ON_GRID).all(axis=0)]
        if not len(candidates):
            return None
    safe = candidates[candidates >= largest / (_SAFE_CODES + 0.5)]
    return float(safe[-1] if len(safe) else candidates[-1])
