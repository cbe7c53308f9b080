"""The tensors of a program: raw bytes, which are never unpickled."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from automl_compress.core.json_field import JsonField
from automl_compress.networks.program_file.archive import ProgramArchive, refuse
from automl_compress.networks.program_file.arguments import read_element_type, read_name
from automl_compress.networks.program_file.bounded_json import parse
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.sizes import read_size

_STRIDED = 7
_FOLDERS = {"weights": "data/weights", "constants": "data/constants"}


@dataclass(frozen=True, slots=True)
class _Payload:
    """Which bytes a tensor is: the same payload under two names is one shared tensor."""

    member: str
    element_type: torch.dtype
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class StoredTensors:
    """The tensors of a program by name.

    weights: parameters and persistent buffers, as in the state dict of whoever saved it; two
        names may have the same tensor. constants: everything else.
    """

    weights: dict[str, Tensor]
    constants: dict[str, Tensor]
    parameters: frozenset[str]


def read_tensors(archive: ProgramArchive, model: str, limits: ProgramLimits) -> StoredTensors:
    """Read every tensor of a program.

    Args:
        archive: the program.
        model: its name within the archive.
        limits: how many tensors it may have.

    Raises:
        ModelInvalid: tensors that are pickled, do not fit their bytes, repeat bytes by their
            strides, are not dense or of a type that is not taken; or too many.
    """
    found: dict[str, dict[str, Tensor]] = {}
    parameters: set[str] = set()
    shared: dict[_Payload, Tensor] = {}
    for kind, folder in _FOLDERS.items():
        name = f"{folder}/{model}_{kind}_config.json"
        if kind == "constants" and name not in archive:
            found[kind] = {}
            continue
        config = parse(archive.read_document(name), name, limits).get("config")
        entries = config.object()
        if len(entries) > limits.tensors:
            config.refuse(f"has {len(entries):,} tensors; {limits.tensors:,} are allowed")
        found[kind] = {}
        for tensor_name in entries:
            entry = config.get(tensor_name)
            payload = _read_payload(entry, folder, archive, limits)
            if payload not in shared:
                shared[payload] = _read_tensor(payload, archive)
            found[kind][tensor_name] = shared[payload]
            if entry.get("is_param").value is True:
                parameters.add(tensor_name)
    return StoredTensors(found["weights"], found["constants"], frozenset(parameters))


def _read_payload(
    entry: JsonField, folder: str, archive: ProgramArchive, limits: ProgramLimits
) -> _Payload:
    if entry.get("use_pickle").value is not False:
        entry.refuse(
            "is pickled, and nothing is ever unpickled; give a network of plain dense tensors"
        )
    member = f"{folder}/{read_name(entry.get('path_name'))}"
    if member not in archive:
        entry.refuse(f"names the member {member!r}, which the archive does not have")
    meta = entry.get("tensor_meta")
    if meta.get("layout").integer() != _STRIDED:
        meta.refuse("is sparse; give a network of dense tensors")
    payload = _Payload(
        member=member,
        element_type=read_element_type(meta.get("dtype")),
        sizes=tuple(_number(each) for each in meta.get("sizes").items()),
        strides=tuple(_number(each) for each in meta.get("strides").items()),
        offset=_number(meta.get("storage_offset")),
    )
    if not len(payload.sizes) == len(payload.strides) <= limits.axes:
        meta.refuse(
            f"has {len(payload.sizes)} sizes and {len(payload.strides)} strides; give one stride "
            f"for each of at most {limits.axes} axes"
        )
    _check_bytes(payload, archive.size(member), meta)
    return payload


def _number(field: JsonField) -> int:
    size = read_size(field)
    if not isinstance(size, int):
        field.refuse("is dynamic; the shape of a stored tensor is made of numbers")
    return size


def _check_bytes(payload: _Payload, available: int, meta: JsonField) -> None:
    """Refuse a tensor that reaches beyond its bytes, or makes more of them than there are."""
    width = payload.element_type.itemsize
    count = math.prod(payload.sizes)
    last = sum(
        (size - 1) * stride for size, stride in zip(payload.sizes, payload.strides, strict=True)
    )
    reach = payload.offset + last + 1 if count else 0
    if available % width or max(reach, count) * width > available:
        meta.refuse(
            f"describes {count:,} values that reach to {max(reach, count) * width:,} bytes, and "
            f"{payload.member!r} has {available:,}; send the file again, or save it again"
        )


def _read_tensor(payload: _Payload, archive: ProgramArchive) -> Tensor:
    if not math.prod(payload.sizes):
        return torch.zeros(payload.sizes, dtype=payload.element_type)
    content = bytearray(archive.read(payload.member))
    is_boolean = payload.element_type == torch.bool
    # A byte that is neither 0 nor 1 is no boolean.
    flat = torch.frombuffer(content, dtype=torch.uint8 if is_boolean else payload.element_type)
    tensor = flat.as_strided(payload.sizes, payload.strides, payload.offset)
    return (tensor != 0) if is_boolean else tensor.clone(memory_format=torch.contiguous_format)


def find_model(archive: ProgramArchive) -> str:
    """Return the name of the archive's only program.

    Raises:
        ModelInvalid: the archive has none, or several, or numbers in another byte order.
    """
    models = [name for name in archive.names("models") if name.endswith(".json")]
    if len(models) != 1:
        refuse(f"holds {len(models)} programs in models/, and one is read")
    if "byteorder" in archive and archive.read("byteorder") != b"little":
        refuse("was saved on a machine of another byte order")
    return models[0].removeprefix("models/").removesuffix(".json")
