"""Files that survive a kill: written whole or not at all, and never pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from automl_compress.core.errors import InvalidInput, StorageFailed
from automl_compress.whole_files import write_whole

_DOCUMENT_KEY = "document"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file such that `path` always holds the old file or the whole new one.

    Args:
        path: its folder must exist.
        tensors: copied to contiguous memory first, as the format asks.
        metadata: kept in the header of the file.

    Raises:
        StorageFailed: the disk did not take it; the old file is still there.
    """
    content = _content(tensors, metadata)
    try:
        write_whole(path, [content])
    except OSError as error:
        raise StorageFailed(
            f"{path} could not be written ({error.strerror or error}); it needs {len(content):,} "
            "bytes in a folder that exists and may be written to"
        ) from error


def _content(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    return save(plain, dict(metadata))


def checkpoint_bytes(tensors: Mapping[str, Tensor], document: object) -> bytes:
    """Return the content of the file that `write_checkpoint` writes."""
    return _content(tensors, {_DOCUMENT_KEY: json.dumps(document)})


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], document: object) -> None:
    """Write tensors with a JSON `document` in the metadata, under the key `document`.

    One key, since the format keeps several in no fixed order: equal content, equal bytes.

    Raises:
        StorageFailed: the disk did not take it; the checkpoint before is still there.
    """
    write_tensors(path, tensors, {_DOCUMENT_KEY: json.dumps(document)})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote.

    Raises:
        InvalidInput: the file is something else.
    """
    try:
        with safe_open(path, "pt") as file:
            document = json.loads((file.metadata() or {})[_DOCUMENT_KEY])
            return {key: file.get_tensor(key) for key in file.keys()}, document  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InvalidInput(
            f"{path} is not a training checkpoint ({type(error).__name__}: {error}); delete it to "
            "begin anew, or give another path"
        ) from error


def nested(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put `prefix.` before every key."""
    return {f"{prefix}.{key}": value for key, value in tensors.items()}


def extract(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the keys that begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
