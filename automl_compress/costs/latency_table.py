"""How long the layers of a network take on one target, for the widths that they may have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from automl_compress.core import LayerGraph
from automl_compress.core.errors import InvalidInput, TableMismatch
from automl_compress.core.json_field import JsonField
from automl_compress.costs.layer_times import LayerShape, LayerTimes

VERSION = 1
MOST_WIDTHS = 10_000  # of one axis of one layer
MOST_NANOSECONDS = 1e15
LARGEST_SIZE = 1_000_000  # channels, pixels of a side, images of a call
MOST_CHARACTERS = 100
_SHAPES_SHOWN = 3  # of those that a table lacks


@dataclass(frozen=True, slots=True)
class Calibration:
    """What whole networks take beside the sum of their layers alone.

    call_ns: of any call. layers: by what the sum of the float layers' times is multiplied;
        integer_layers: that of the others. elementwise_ns: of each operation without weights.
        quantising_ns: of each value that a layer in int8 gets from one in float32.
    checks: nanoseconds of the networks that it was fitted to, and of the uncut one before them:
        (predicted, measured).
    uncut: by what the uncut network's time is multiplied: its layers are alike, and run one code
        that the processor holds already; those of cut networks have a code for each width.
    """

    call_ns: float = 0.0
    layers: float = 1.0
    elementwise_ns: float = 0.0
    integer_layers: float = 1.0
    quantising_ns: float = 0.0
    checks: tuple[tuple[float, float], ...] = ()
    uncut: float = 1.0


@dataclass(frozen=True)
class LatencyTable:
    """Times of layers on one target.

    target: which engine, on which kind of device. batch: images of one call.
    processor, engine_version: of the machine that measured.
    """

    target: str
    processor: str
    engine_version: str
    batch: int
    times: tuple[LayerTimes, ...]
    calibration: Calibration = Calibration()

    def enveloped(self) -> "LatencyTable":
        """Return the table whose times never fall as a width grows, as a cost model must."""
        return replace(self, times=tuple(each.enveloped() for each in self.times))

    @property
    def entries(self) -> int:
        """How many pairs of widths were measured."""
        return sum(each.nanoseconds.size for each in self.times)

    def to_json(self) -> dict[str, Any]:
        """Return the table as a JSON object."""
        return {
            "version": VERSION,
            "target": self.target,
            "processor": self.processor,
            "engine_version": self.engine_version,
            "batch": self.batch,
            "calibration": {
                **asdict(self.calibration),
                "checks": [list(each) for each in self.calibration.checks],
            },
            "layers": [
                each.shape.to_json()
                | {
                    "inputs": list(each.inputs),
                    "outputs": list(each.outputs),
                    "nanoseconds": np.round(each.nanoseconds).astype(int).tolist(),
                }
                | ({} if each.spreads is None else {"spreads": np.round(each.spreads, 1).tolist()})
                for each in self.times
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "LatencyTable":
        """Read what `to_json` wrote; raises InvalidInput, which names the place."""
        root = JsonField(content, error=InvalidInput)
        if root.get("version").integer() != VERSION:
            root.get("version").refuse(f"is not {VERSION}, the only one that is read here")
        layers = tuple(root.get("layers").items())
        if not layers:
            root.get("layers").refuse("has no times; measure a network's layers")
        calibration = root.get("calibration")
        # Tables of before int8 lack two of these, and some the last one.
        integers, quantising, uncut = map(
            calibration.find, ("integer_layers", "quantising_ns", "uncut")
        )
        return cls(
            target=_short_text(root.get("target")),
            processor=_short_text(root.get("processor")),
            engine_version=_short_text(root.get("engine_version")),
            batch=_size(root.get("batch")),
            times=tuple(_read_times(each) for each in layers),
            calibration=Calibration(
                _time(calibration.get("call_ns")),
                _time(calibration.get("layers")),
                _time(calibration.get("elementwise_ns")),
                1.0 if integers is None else _time(integers),
                0.0 if quantising is None else _time(quantising),
                tuple(_read_check(each) for each in calibration.get("checks").items()),
                1.0 if uncut is None else _time(uncut),
            ),
        )


def times_of_layers(
    table: LatencyTable, graph: LayerGraph, *, are_integer: bool = False
) -> list[LayerTimes]:
    """Return the times that fit each convolution and linear layer of a network best.

    Those are of its shape, up to its uncut widths, with the finest grid on the axes that groups
    cut.

    Args:
        table: of the target.
        graph: the network's.
        are_integer: whether times in int8 are wanted; those in float32 stand in for them.

    Raises:
        TableMismatch: there are none for some layers.
    """
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    found: list[LayerTimes] = []
    missing: dict[str, str] = {}  # the first layer of each
    for layer in graph.layers:
        if layer.kind == "other":
            continue
        shape, axes = LayerShape.of(layer, is_integer=are_integer), tensors[layer.weight].axes
        outputs, inputs = (axis.size(graph.full_widths) for axis in axes[:2])
        fitting = _fitting(table, shape, inputs, outputs)
        if not fitting and are_integer:
            shape = replace(shape, is_integer=False)
            fitting = _fitting(table, shape, inputs, outputs)
        if fitting:
            is_cut = bool(axes[1].terms), bool(axes[0].terms)
            found.append(max(fitting, key=lambda each: each.fineness(*is_cut)))
        else:
            missing.setdefault(f"{shape}, {inputs} to {outputs} channels", layer.name)
    if missing:
        raise _mismatch(table, missing)
    return found


def _mismatch(table: LatencyTable, missing: Mapping[str, str]) -> TableMismatch:
    shown = [f"{shape} ({layer})" for shape, layer in islice(missing.items(), _SHAPES_SHOWN)]
    more = len(missing) - len(shown)
    shapes = "shape of layers" if len(missing) == 1 else "shapes of layers"
    return TableMismatch(
        f"the latency table of {table.target} has no times for {len(missing)} {shapes} of this "
        f"network: {'; '.join(shown)}{f'; and {more} more' if more else ''}. Measure the network "
        "on that machine (automl-compress measure-latency), bring that table, and name its target"
    )


def _fitting(table: LatencyTable, shape: LayerShape, inputs: int, outputs: int) -> list[LayerTimes]:
    return [
        each
        for each in table.times
        if each.shape == shape and each.inputs[-1] >= inputs and each.outputs[-1] >= outputs
    ]


def _read_times(field: JsonField) -> LayerTimes:
    kind, integer = field.get("kind").choice("convolution", "linear"), field.find("is_integer")
    shape = LayerShape(
        "linear" if kind == "linear" else "convolution",
        kernel_size=_sizes(field.get("kernel_size")),
        stride=_sizes(field.get("stride")),
        output_size=_sizes(field.get("output_size")),
        convolution_groups=field.get("convolution_groups").integer(),
        is_integer=integer is not None and integer.boolean(),
    )
    inputs, outputs = _widths(field.get("inputs")), _widths(field.get("outputs"))
    grid = len(inputs), len(outputs)
    spreads = field.find("spreads")  # tables of before they were measured lack them
    return LayerTimes(
        shape,
        inputs,
        outputs,
        _read_grid(field.get("nanoseconds"), *grid),
        None if spreads is None else _read_grid(spreads, *grid),
    )


def _read_grid(field: JsonField, inputs: int, outputs: int) -> np.ndarray:
    times = [[_time(each) for each in row.items()] for row in field.items()]
    if len(times) != inputs or any(len(row) != outputs for row in times):
        field.refuse(f"is not one row of {outputs} times for each of {inputs} inputs")
    return np.array(times, dtype=np.float64)


def _read_check(field: JsonField) -> tuple[float, float]:
    found = [_time(each) for each in field.items()]
    if len(found) != 2:
        field.refuse(f"has {len(found)} numbers; give what was predicted and what was measured")
    return found[0], found[1]


def _sizes(field: JsonField) -> tuple[int, ...]:
    return tuple(_size(each) for each in field.items())


def _size(field: JsonField) -> int:
    found = field.integer(at_least=1)
    if found > LARGEST_SIZE:
        field.refuse(f"is {found}; give at most {LARGEST_SIZE:,}")
    return found


def _short_text(field: JsonField) -> str:
    found = field.text()
    if not 0 < len(found) <= MOST_CHARACTERS or "\x00" in found:
        field.refuse(f"is no text of 1 to {MOST_CHARACTERS} characters")
    return found


def _widths(field: JsonField) -> tuple[int, ...]:
    found = _sizes(field)
    if not 0 < len(found) <= MOST_WIDTHS or sorted(set(found)) != list(found):
        field.refuse(f"has {len(found)} numbers; give 1 to {MOST_WIDTHS:,}, ascending")
    return found


def _time(field: JsonField) -> float:
    found = field.number()
    if not 0 <= found < MOST_NANOSECONDS:  # not a number, too
        field.refuse(f"is {field.value!r}; give a number from 0 to {MOST_NANOSECONDS:g}")
    return found
