"""Arguments of operators: the kinds that a program may hold, each read by its own rule."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from automl_compress.core.json_field import JsonField
from automl_compress.networks.program_file.steps import Reference

LEAST_INTEGER = -(2**63)
_LONGEST_TEXT = 200
# torch's serialised numbers of element types, of memory formats, and of the strided layout.
ELEMENT_TYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MEMORY_FORMATS: Mapping[int, torch.memory_format] = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_STRIDED = 7


def read_argument(field: JsonField) -> Any:
    """Read one argument: an object of one member, whose name says of which kind it is.

    Returns:
        None, a number, a text, a type of torch, a reference, or a tuple of these.

    Raises:
        ModelInvalid: of a kind that no allowed operator takes, or not what its kind says.
    """
    kind, value = read_union(field)
    reader = _READERS.get(kind)
    if reader is None:
        field.refuse(f"is an argument of kind {kind!r}, which is not taken")
    return reader(value)


def read_union(field: JsonField) -> tuple[str, JsonField]:
    """Return the name and the value of an object's only member."""
    members = field.object()
    if len(members) != 1:
        field.refuse(f"has {len(members)} members; it must have one, which says its kind")
    kind = next(iter(members))
    return kind, field.get(kind)


def read_name(field: JsonField) -> str:
    """Read the name of a value."""
    name = field.text()
    if not 0 < len(name) <= _LONGEST_TEXT:
        field.refuse(f"has {len(name)} letters; give a name of 1 to {_LONGEST_TEXT}")
    return name


def read_element_type(field: JsonField) -> torch.dtype:
    """Read the element type of a tensor."""
    number = field.integer()
    if number not in ELEMENT_TYPES:
        field.refuse(f"is {number}, no element type that is taken; export the network in float32")
    return ELEMENT_TYPES[number]


def _integer(field: JsonField) -> int:
    return field.integer(LEAST_INTEGER)


def _number(field: JsonField) -> float:
    if isinstance(field.value, str):  # JSON has no infinity, torch writes its name
        return math.inf if field.choice("Infinity", "-Infinity") == "Infinity" else -math.inf
    return field.number()


def _boolean(field: JsonField) -> bool:
    if not isinstance(field.value, bool):
        field.refuse(f"is {type(field.value).__name__}; give true or false")
    return field.value


def _text(field: JsonField) -> str:
    return read_name(field)


def _nothing(field: JsonField) -> None:
    return None


def _tensor(field: JsonField) -> Reference:
    return Reference(read_name(field.get("name")))


def _symbolic_integer(field: JsonField) -> int | Reference:
    kind, value = read_union(field)
    if kind == "as_int":
        return _integer(value)
    if kind != "as_name":
        field.refuse(f"is a size of kind {kind!r}; give as_int or as_name")
    return Reference(read_name(value))


def _optional_tensor(field: JsonField) -> Reference | None:
    kind, value = read_union(field)
    if kind not in ("as_tensor", "as_none"):
        field.refuse(f"is of kind {kind!r}; give as_tensor or as_none")
    return None if kind == "as_none" else _tensor(value)


def _memory_format(field: JsonField) -> torch.memory_format:
    number = field.integer()
    if number not in _MEMORY_FORMATS:
        field.refuse(f"is {number}, no memory format")
    return _MEMORY_FORMATS[number]


def _layout(field: JsonField) -> torch.layout:
    if field.integer() != _STRIDED:
        field.refuse("is a sparse layout; give a network of dense tensors")
    return torch.strided


def _device(field: JsonField) -> torch.device:
    kind = field.get("type").text()
    if kind != "cpu":
        field.refuse(f"is the device {kind[:20]!r}; export the network on the CPU (module.cpu())")
    return torch.device("cpu")


def _each(reader: Callable[[JsonField], Any]) -> Callable[[JsonField], tuple[Any, ...]]:
    return lambda field: tuple(reader(each) for each in field.items())


_READERS: Mapping[str, Callable[[JsonField], Any]] = {
    "as_none": _nothing,
    "as_tensor": _tensor,
    "as_tensors": _each(_tensor),
    "as_optional_tensor": _optional_tensor,
    "as_optional_tensors": _each(_optional_tensor),
    "as_int": _integer,
    "as_ints": _each(_integer),
    "as_float": _number,
    "as_floats": _each(_number),
    "as_bool": _boolean,
    "as_bools": _each(_boolean),
    "as_string": _text,
    "as_sym_int": _symbolic_integer,
    "as_sym_ints": _each(_symbolic_integer),
    "as_scalar_type": read_element_type,
    "as_memory_format": _memory_format,
    "as_layout": _layout,
    "as_device": _device,
}
