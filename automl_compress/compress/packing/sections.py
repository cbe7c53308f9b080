"""How one tensor stands in a container: plain, sparse or quantised."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from automl_compress.compress.packing.byte_fields import ByteReader, varint
from automl_compress.compress.packing.codec import decode_integers
from automl_compress.compress.quantisers.grid import Grid, GridForm, QuantisedTensor
from automl_compress.core.errors import DataInvalid, InvalidInput

PackedTensor = Tensor | QuantisedTensor
#: Writes an array of integers so that `decode_integers` reads it.
Encoder = Callable[[np.ndarray], bytes]

_PLAIN, _SPARSE, _QUANTISED = range(3)
# How many numbers the directory holds for a tensor of each kind, beside name and shape.
_FIELDS = {_PLAIN: 1, _SPARSE: 2, _QUANTISED: 6}
# The places in these two tuples are in the files: append only.
_TYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
_FORMS: tuple[GridForm, ...] = get_args(GridForm)
_LARGEST_BITS = 16


@dataclass(frozen=True, slots=True)
class SectionSize:
    """What a tensor takes in the file.

    Attributes:
        kind: `plain`, `sparse` or `quantised`.
        entries: of the tensor.
        value_bytes: of plain entries, scales and codebooks.
        code_bytes: of coded integers with their tables.
    """

    kind: str
    entries: int
    value_bytes: int
    code_bytes: int


def written_tensor(name: str, tensor: PackedTensor, encode: Encoder) -> tuple[int, bytes, bytes]:
    """Return the kind, the directory's fields, and the section of a tensor.

    Raises:
        InvalidInput: the tensor's type cannot be stored, or its codes cannot be encoded.
    """
    if isinstance(tensor, QuantisedTensor):
        return _written_quantised(name, tensor, encode)
    if tensor.dtype not in _TYPES:
        raise InvalidInput(
            f"{name} is of {tensor.dtype}, which cannot be stored; give one of "
            f"{', '.join(str(each) for each in _TYPES)}"
        )
    items = _items(tensor)
    type_field = varint(_TYPES.index(tensor.dtype))
    is_stored = np.any(items, axis=1)
    plain = items.tobytes()
    if bool(is_stored.all()):
        return _PLAIN, type_field, plain
    mask = encode(np.asarray(is_stored, dtype=np.uint8))
    sparse = mask + items[is_stored].tobytes()
    if len(sparse) >= len(plain):
        return _PLAIN, type_field, plain
    return _SPARSE, type_field + varint(len(mask)), sparse


def read_fields(kind: int, reader: ByteReader) -> tuple[int, ...]:
    """Read from the directory what stands there for a tensor of this kind."""
    if kind not in _FIELDS:
        raise reader.invalid(f"{kind} is no kind of tensor")
    return tuple(reader.varint() for _ in range(_FIELDS[kind]))


def read_tensor(
    name: str, kind: int, shape: tuple[int, ...], fields: tuple[int, ...], sections: ByteReader
) -> tuple[PackedTensor, SectionSize]:
    """Read a tensor from the front of the sections.

    Raises:
        DataInvalid: the section is truncated, or does not belong to this shape.
    """
    entries = math.prod(shape)
    if kind == _QUANTISED:
        return _read_quantised(name, shape, entries, fields, sections)
    if fields[0] >= len(_TYPES):
        raise sections.invalid(f"{name!r} is of an unknown type")
    dtype = _TYPES[fields[0]]
    items = np.zeros((entries, dtype.itemsize), dtype=np.uint8)
    is_stored, mask_bytes = np.ones(entries, dtype=bool), 0
    if kind == _SPARSE:
        mask_bytes = fields[1]
        is_stored = _mask(name, decode_integers(sections.take(mask_bytes), entries))
    stored = int(is_stored.sum())
    content = sections.take(stored * dtype.itemsize)
    items[is_stored] = np.frombuffer(content, dtype=np.uint8).reshape(stored, dtype.itemsize)
    kind_name = "sparse" if kind == _SPARSE else "plain"
    size = SectionSize(kind_name, entries, len(content), mask_bytes)
    if dtype == torch.bool and entries and int(items.max()) > 1:
        raise sections.invalid(f"{name!r} holds what is neither true nor false")
    return torch.from_numpy(items.reshape(-1)).view(dtype).reshape(shape), size


def _items(tensor: Tensor) -> np.ndarray:
    """Return the bytes of each entry, (entries, bytes)."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().reshape(len(flat), tensor.element_size())


def _mask(name: str, values: np.ndarray) -> np.ndarray:
    if values.size and not 0 <= int(values.min()) <= int(values.max()) <= 1:
        raise DataInvalid(f"the mask of {name!r} holds other numbers than 0 and 1")
    return values.astype(bool)


def _written_quantised(
    name: str, tensor: QuantisedTensor, encode: Encoder
) -> tuple[int, bytes, bytes]:
    grid = tensor.grid
    if grid.bits > _LARGEST_BITS:
        raise InvalidInput(f"{name} has {grid.bits} bits; {_LARGEST_BITS} at most can be stored")
    codes = encode(tensor.codes.cpu().numpy())
    axis = 0 if grid.axis is None else grid.axis + 1
    numbers = (_FORMS.index(grid.form), grid.bits, axis, int(grid.is_signed), len(grid.values))
    values = _items(grid.values.float()).tobytes()
    return _QUANTISED, b"".join(map(varint, (*numbers, len(codes)))), values + codes


def _read_quantised(
    name: str, shape: tuple[int, ...], entries: int, fields: tuple[int, ...], sections: ByteReader
) -> tuple[QuantisedTensor, SectionSize]:
    form, bits, axis, signed, grids, code_bytes = fields
    fits = form < len(_FORMS) and 1 <= bits <= _LARGEST_BITS and axis <= len(shape) and signed <= 1
    if not fits or grids != (shape[axis - 1] if axis else 1):
        raise sections.invalid(f"the grid of {name!r} does not belong to its shape {shape}")
    columns = 2**bits if _FORMS[form] == "codebook" else 1
    content = sections.take(grids * columns * 4)
    values = torch.from_numpy(np.frombuffer(content, dtype="<f4").astype(np.float32))
    if not bool(torch.isfinite(values).all()):
        raise sections.invalid(f"the grid of {name!r} holds NaN or infinity")
    grid = Grid(
        _FORMS[form],
        bits,
        values.reshape(grids, columns),
        axis - 1 if axis else None,
        bool(signed),
    )
    codes = decode_integers(sections.take(code_bytes), entries)
    if entries and not grid.lowest <= int(codes.min()) <= int(codes.max()) <= grid.highest:
        raise sections.invalid(f"codes of {name!r} are out of the range of its grid")
    size = SectionSize("quantised", entries, len(content), code_bytes)
    return QuantisedTensor(torch.from_numpy(codes.astype(np.int32)).reshape(shape), grid), size
