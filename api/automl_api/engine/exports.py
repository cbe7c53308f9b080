"""What a job hands out beside policy and weights: the model card and, by the engines, ONNX."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from automl_api.engine.pipeline import OwnedJob
from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput
from automl_compress.export.card import model_card
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from automl_compress.export.subject import Subject
from automl_compress.store import WrittenFile
from automl_compress.store.artifacts import NewArtifact

Artifact = tuple[NewArtifact, WrittenFile]


@dataclass(frozen=True)
class Exports:
    """The files, and what is to be said of each format: its check, or why there is no file."""

    artifacts: tuple[Artifact, ...]
    notes: dict[str, Any]


def write_exports(
    job: OwnedJob, uncut: nn.Module, document: PolicyDocument, network: WrittenFile, suffix: str
) -> Exports:
    """Write what the weights and the document of a confirmed policy give.

    A network that an engine cannot run is no failure of the job: the note says it.

    Args:
        job: gets the files.
        uncut: the network that the document was made for.
        document: of the policy.
        network: the compressed network's weights.
        suffix: of the files' names, before the dot.

    Raises:
        StorageFailed: the disk did not take a file.
    """
    card = model_card(document).encode()
    artifacts = [_write(job, f"card{suffix}.md", "card", "text/markdown", card)]
    if not is_installed(*ONNX_PACKAGES):
        missing = "not installed on the worker: automl-compress[engines]"
        return Exports(tuple(artifacts), {"onnx": {"failure": missing}})
    module = apply_policy(uncut, document, job.files.path_of(network.path))
    try:
        content, agreement = Subject(module, document).checked_onnx()
    except InvalidInput as error:
        return Exports(tuple(artifacts), {"onnx": {"failure": str(error)}})
    media_type = "application/octet-stream"
    artifacts.append(_write(job, f"network{suffix}.onnx", "onnx", media_type, content))
    return Exports(tuple(artifacts), {"onnx": agreement.to_json()})


def _write(job: OwnedJob, name: str, kind: str, media_type: str, content: bytes) -> Artifact:
    written = job.files.write(f"artifacts/{job.job_id}/{name}", [content])
    return NewArtifact(job.job_id, name, kind, media_type), written
