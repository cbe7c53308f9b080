"""Packed files on this machine: written from weights, listed, and unpacked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from automl_api.local_apply import uncut_network
from automl_compress.compress.apply import apply_policy
from automl_compress.compress.layer_weights import compressed_weights
from automl_compress.compress.packing import PackedNetwork, pack, unpack
from automl_compress.compress.packing.sections import PackedTensor
from automl_compress.compress.quantisers import QuantisedTensor
from automl_compress.core import LayerChoice
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import DataInvalid, InvalidInput, ModelInvalid, StorageFailed
from automl_compress.core.weight_grids import WeightScales
from automl_compress.networks.architectures import read_safetensors
from automl_compress.train.checkpoint import write_tensors
from automl_compress.whole_files import write_whole


@dataclass(frozen=True, slots=True)
class PackRequest:
    """What becomes of every weight of two axes or more; others are stored as they are."""

    weights: Path
    output: Path
    bits: int
    sparsity: float
    quantiser: str
    weight_scales: str


def pack_file(request: PackRequest) -> dict[str, Any]:
    """Write a safetensors file as a packed one.

    Returns:
        `output`, and `size_bytes` of the tensors before and of the file after.

    Raises:
        ModelInvalid: the weights cannot be read.
        DataInvalid: a weight that is to change holds NaN or infinity.
        PolicyInvalid: bits or sparsity are out of range, or the quantiser has no such bits.
        UnknownName: no quantiser has this name.
        StorageFailed: the disk did not take the file.
    """
    tensors = read_safetensors(request.weights)
    weights = [name for name, tensor in tensors.items() if _is_weight(tensor)]
    # What cannot be asked for is refused where there is no weight to change, too.
    choices = {name: _choice(request, name) for name in weights or tensors}
    packed = {
        name: _packed(tensor, choices[name]) if name in weights else tensor
        for name, tensor in tensors.items()
    }
    content = pack(packed)
    _write(request.output, content)
    before = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return {
        "output": str(request.output),
        "size_bytes": {"before": before, "after": len(content)},
    }


def _is_weight(tensor: Tensor) -> bool:
    return tensor.dim() >= 2 and tensor.numel() > 0 and tensor.is_floating_point()


def _choice(request: PackRequest, name: str) -> LayerChoice:
    """Return what becomes of a tensor, under its own name, by which a refusal tells of it."""
    scales = cast("WeightScales", request.weight_scales)  # which the choice checks
    return LayerChoice(name, request.sparsity, request.bits, 32, request.quantiser, scales)


def _packed(tensor: Tensor, choice: LayerChoice) -> PackedTensor:
    if choice.is_untouched:
        return tensor
    try:
        found = compressed_weights(tensor.float(), choice)
    except DataInvalid as error:
        raise DataInvalid(f"{choice.layer}: {error}") from error
    return found.values if found.quantised is None else found.quantised


def inspect_file(path: Path) -> dict[str, Any]:
    """Say what a packed file holds and where its bytes go.

    Raises:
        ModelInvalid: the file cannot be read.
        DataInvalid: it is no packed file, or damaged.
    """
    packed = _read(path)
    rows = [_row(packed, name) for name in packed.tensors]
    stored = sum(row["size_bytes"] for row in rows)
    return {
        "file": str(path),
        "size_bytes": packed.size_bytes,
        "directory_bytes": packed.size_bytes - stored,
        "metadata": packed.metadata,
        "tensors": rows,
    }


def _row(packed: PackedNetwork, name: str) -> dict[str, Any]:
    tensor, size = packed.tensors[name], packed.sizes[name]
    is_quantised = isinstance(tensor, QuantisedTensor)
    return {
        "name": name,
        "kind": size.kind,
        "shape": list(tensor.codes.shape if isinstance(tensor, QuantisedTensor) else tensor.shape),
        "bits": tensor.grid.bits if isinstance(tensor, QuantisedTensor) else None,
        "grid": tensor.grid.form if isinstance(tensor, QuantisedTensor) else None,
        "size_bytes": size.value_bytes + size.code_bytes,
        "bits_per_entry": 8 * size.code_bytes / max(size.entries, 1) if is_quantised else None,
    }


def unpack_file(path: Path, output: Path, policy: Path | None) -> dict[str, Any]:
    """Write a packed file's tensors as safetensors.

    Args:
        path: the packed file.
        output: the safetensors file.
        policy: the document that the file belongs to: fills in the norms that were folded, so
            that the tensors are a whole state dict; None writes those that the file has.

    Raises:
        ModelInvalid: the file cannot be read, or is not the policy's.
        DataInvalid: it is no packed file, or damaged.
        InvalidInput: the policy names no architecture.
        StorageFailed: the disk did not take the file.
    """
    if policy is None:
        tensors = _read(path).state_dict()
    else:
        document = PolicyDocument.load(policy)
        tensors = apply_policy(uncut_network(document), document, path).state_dict()
    write_tensors(output, tensors, {})
    return {"output": str(output), "tensors": len(tensors)}


def _read(path: Path) -> PackedNetwork:
    try:
        return unpack(path.read_bytes())
    except OSError as error:
        raise ModelInvalid(f"{path} cannot be read ({error.strerror})") from error


def _write(path: Path, content: bytes) -> None:
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; give the name of a file")
    try:
        write_whole(path, [content])
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written ({error.strerror}); choose a folder that exists and has room"
        ) from error
