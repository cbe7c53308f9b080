"""A compressed network as the files of one format, each checked in its engine before it is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from automl_compress.core.confirmation import EngineFormat
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput, StorageFailed, UnknownName
from automl_compress.export.agreement import Agreement
from automl_compress.export.bundle import bundle_bytes
from automl_compress.export.card import model_card
from automl_compress.export.documents import network_bytes
from automl_compress.export.openvino_file import openvino_files
from automl_compress.export.program_file import program_bytes
from automl_compress.export.subject import Subject
from automl_compress.whole_files import write_whole

Format = Literal["safetensors"] | EngineFormat


@dataclass(frozen=True, slots=True)
class Exported:
    """The files of one export, the main one last.

    agreement: None for safetensors, whose tensors are the network's own.
    integer_layers: names of the weights whose layers an engine may compute in int8.
    """

    format: Format
    files: tuple[Path, ...]
    agreement: Agreement | None
    integer_layers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the export as a JSON object."""
        return {
            "format": self.format,
            "files": [str(path) for path in self.files],
            "size_bytes": sum(path.stat().st_size for path in self.files),
            "agreement": None if self.agreement is None else self.agreement.to_json(),
            "integer_layers": list(self.integer_layers),
        }


@dataclass(frozen=True, slots=True)
class _Contents:
    """The contents of a format's files, and the check of them."""

    files: tuple[bytes, ...]
    agreement: Agreement | None = None
    integer_layers: tuple[str, ...] = ()


def _safetensors(subject: Subject) -> _Contents:
    return _Contents((model_card(subject.document).encode(), network_bytes(subject.module)))


def _onnx(subject: Subject) -> _Contents:
    onnx = subject.checked_onnx
    return _Contents((onnx.content,), onnx.agreement, onnx.integer_layers)


def _openvino(subject: Subject) -> _Contents:
    def written(content: bytes) -> tuple[bytes, bytes, Agreement]:
        return openvino_files(content, subject.module, subject.input_shape)

    (graph, weights, agreement), layers = subject.in_integers(written, has_integer_biases=False)
    return _Contents((weights, graph), agreement, layers)


def _pt2(subject: Subject) -> _Contents:
    content, agreement = program_bytes(subject.module, subject.input_shape)
    return _Contents((content,), agreement)


def _bundle(subject: Subject) -> _Contents:
    onnx = subject.checked_onnx
    return _Contents((bundle_bytes(subject),), onnx.agreement, onnx.integer_layers)


@dataclass(frozen=True, slots=True)
class _Kind:
    """suffixes: of the files in the order of writing, the one that the user names last."""

    suffixes: tuple[str, ...]
    write: Callable[[Subject], _Contents]


_KINDS: Mapping[Format, _Kind] = {
    "safetensors": _Kind((".md", ".safetensors"), _safetensors),
    "onnx": _Kind((".onnx",), _onnx),
    "openvino": _Kind((".bin", ".xml"), _openvino),
    "pt2": _Kind((".pt2",), _pt2),
    "bundle": _Kind((".zip",), _bundle),
}
FORMATS: tuple[Format, ...] = tuple(_KINDS)


def suffix_of(format: Format) -> str:
    """Return the suffix of the file that the user names."""
    return _KINDS[format].suffixes[-1]


def format_of(path: Path, wanted: str | None = None) -> Format:
    """Return the format of a file that is to be written.

    Args:
        path: whose suffix tells, and must fit.
        wanted: the format's name; None leaves it to the suffix.

    Raises:
        UnknownName: there is no such format.
        InvalidInput: the suffix belongs to no format, or to another.
    """
    if wanted is not None and wanted not in FORMATS:
        raise UnknownName("format", wanted, FORMATS)
    for name, kind in _KINDS.items():
        if path.suffix == kind.suffixes[-1] and wanted in (None, name):
            return name
    allowed = ", ".join(
        f"{kind.suffixes[-1]} ({name})" for name, kind in _KINDS.items() if wanted in (None, name)
    )
    raise InvalidInput(f"{path} has the suffix {path.suffix!r}; allowed here: {allowed}")


def export_network(
    module: nn.Module,
    policy: PolicyDocument | str | Path,
    path: str | Path,
    wanted: str | None = None,
    *,
    replaces: bool = False,
    uncut: nn.Module | None = None,
) -> Exported:
    """Write a compressed network.

    A safetensors file comes with a model card (`.md`), an OpenVINO `.xml` with its weights
    (`.bin`), both beside it.

    Args:
        module: the compressed network, as `apply_policy` returns it.
        policy: its document, or the path of a policy.json.
        path: of the file; its folder exists.
        wanted: the format; None takes the one that the suffix says.
        replaces: whether files that exist are replaced.
        uncut: the network before, with whose time a bundle compares; None leaves that out.

    Raises:
        InvalidInput: a file exists, no format has this name or suffix, or a package of the
            extra `[engines]` is missing.
        PolicyInvalid: the document cannot be read.
        ModelInvalid: the engine lacks an operator, or computes something else than the network;
            no file is written then.
        StorageFailed: the disk did not take a file.
    """
    format_of(Path(path), wanted)
    document = policy if isinstance(policy, PolicyDocument) else PolicyDocument.load(policy)
    subject = Subject.of(module.eval(), document, uncut)
    return export_subject(subject, Path(path), wanted, replaces=replaces)


def export_subject(
    subject: Subject, path: Path, wanted: str | None = None, *, replaces: bool = False
) -> Exported:
    """Do what `export_network` does; several formats of one subject share what they begin with."""
    chosen = format_of(path, wanted)
    kind = _KINDS[chosen]
    files = tuple(path.with_suffix(suffix) for suffix in kind.suffixes)
    for each in files:
        if each.exists() and not replaces:
            raise InvalidInput(
                f"{each} exists already; give another name, or --force to replace it"
            )
    contents = kind.write(subject)
    for each, content in zip(files, contents.files, strict=True):
        _write(each, content)
    return Exported(chosen, files, contents.agreement, contents.integer_layers)


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, [content])
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written ({error.strerror}); choose a folder that exists and has room"
        ) from error
