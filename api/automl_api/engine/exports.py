"""What a job hands out beside policy and weights: the model card and, by the engines, ONNX."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_api.engine.pipeline import OwnedJob
from automl_api.local_export import Weights, export_files
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.export.card import model_card
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.store import WrittenFile
from automl_compress.store.artifacts import NewArtifact

Artifact = tuple[NewArtifact, WrittenFile]


@dataclass(frozen=True)
class Exports:
    """The files, and what is to be said of each format: its check, or why there is no file."""

    artifacts: tuple[Artifact, ...]
    notes: dict[str, Any]


def write_exports(
    job: OwnedJob,
    document: PolicyDocument,
    network: WrittenFile,
    suffix: str,
    go_on: Callable[[], None],
) -> Exports:
    """Write what the weights and the document of a confirmed policy give.

    A network that an engine cannot run is no failure of the job: the note says it.

    Args:
        job: gets the files.
        document: of the policy.
        network: the compressed network's weights.
        suffix: of the files' names, before the dot.
        go_on: called often; what it raises ends the export.

    Raises:
        StorageFailed: the disk did not take a file.
    """
    card = model_card(document).encode()
    artifacts = (_write(job, f"card{suffix}.md", "card", "text/markdown", card),)
    if not is_installed(*ONNX_PACKAGES):
        missing = "not installed on the worker: automl-compress[engines]"
        return Exports(artifacts, {"onnx": {"failure": missing}})
    weights = Weights(job.files.path_of(network.path), _program(job, document))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            # torch's exporter cannot run twice at once in a process; a worker may have two jobs.
            agreement = run_isolated(_export_onnx, document, weights, path, go_on=go_on)
        except InvalidInput as error:
            return Exports(artifacts, {"onnx": {"failure": str(error)}})
        content = path.read_bytes()
    onnx = _write(job, f"network{suffix}.onnx", "onnx", "application/octet-stream", content)
    return Exports((*artifacts, onnx), {"onnx": agreement})


def _program(job: OwnedJob, document: PolicyDocument) -> Path | None:
    """Return the program that the job compresses; None where the document names all there is."""
    if document.model.architecture is not None:
        return None
    program: str | None = job.row().spec["model"].get("program")
    return None if program is None else job.files.directory / program


def _export_onnx(document: PolicyDocument, weights: Weights, path: Path) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    agreement = export_files(document, weights, path).agreement
    assert agreement is not None
    return agreement.to_json()


def _write(job: OwnedJob, name: str, kind: str, media_type: str, content: bytes) -> Artifact:
    written = job.files.write(f"artifacts/{job.job_id}/{name}", [content])
    return NewArtifact(job.job_id, name, kind, media_type), written
