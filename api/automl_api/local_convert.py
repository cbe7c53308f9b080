"""From a pickled state dict to safetensors, on the user's machine: the service reads no pickle."""

import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from automl_compress.core.errors import ModelInvalid, StorageFailed

WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put it


@contextmanager
def without_pickle(path: Path) -> Generator[Path]:
    """Give a file itself, or, of what `torch.save` wrote, safetensors that last until the exit.

    Raises:
        ModelInvalid: it is pickled, and holds more than tensors.
        StorageFailed: the disk did not take the safetensors.
    """
    if not _is_pickled(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        converted = Path(folder, path.with_suffix(".safetensors").name)
        convert(path, converted)
        yield converted


def _is_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    if head[:1] == b"\x80" and head[8:] != b"{":  # bare, as torch.save once wrote; no safetensors
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False  # the service says what is wrong with it
    return members >= {"data.pkl", "version"}


def convert(source: Path, target: Path) -> int:
    """Write the tensors of a pickled state dict as safetensors; no code of the file is run.

    Args:
        source: what `torch.save` wrote: a state dict, or a mapping that holds one under one of
            `WRAPPERS`.
        target: the safetensors file.

    Returns:
        How many tensors were written.

    Raises:
        ModelInvalid: there is no such file, or it holds more than tensors.
        StorageFailed: the disk did not take it.
    """
    from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

    tensors = _tensors(_loaded(source), source)
    try:
        save_file(tensors, target)
    except OSError as error:
        raise StorageFailed(f"{target} cannot be written: {error}") from error
    return len(tensors)


def _loaded(source: Path) -> Any:
    import torch

    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelInvalid(
            f"{source} cannot be read ({error.strerror}); give the path of a file"
        ) from error
    except Exception as error:  # damaged bytes lead the unpickler into errors of any kind
        raise ModelInvalid(
            f"{source} holds more than tensors, or is damaged, and is not unpickled; save the "
            "state dict alone: torch.save(network.state_dict(), path)"
        ) from error


def _tensors(found: Any, source: Path) -> dict[str, Any]:
    from torch import Tensor

    wrapped = next((name for name in WRAPPERS if _has_mapping(found, name)), None)
    content = found if wrapped is None else found[wrapped]
    if not isinstance(content, Mapping):
        raise ModelInvalid(
            f"{source} holds no state dict; save one: torch.save(network.state_dict(), path)"
        )
    named = cast("Mapping[Any, Any]", content)
    others = [str(name) for name, value in named.items() if not isinstance(value, Tensor)]
    if others or not named:
        raise ModelInvalid(
            f"{source} holds {', '.join(others[:5]) or 'nothing'} besides tensors; save the state "
            "dict alone: torch.save(network.state_dict(), path)"
        )
    # Tensors that share memory, as tied weights do, are written apart.
    return {str(name): value.detach().clone().contiguous() for name, value in named.items()}


def _has_mapping(found: Any, name: str) -> bool:
    return isinstance(found, Mapping) and isinstance(
        cast("Mapping[Any, Any]", found).get(name), Mapping
    )
