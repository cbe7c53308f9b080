"""What a job hands out beside policy and weights: model cards, and files for engines."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from automl_api.engine.pipeline import OwnedJob
from automl_api.local_export import ExportNotes, ExportOrder, Weights, export_orders
from automl_api.places import without_folders
from automl_compress.core.confirmation import EngineFormat
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.export.card import model_card
from automl_compress.store import WrittenFile
from automl_compress.store.artifacts import NewArtifact

Artifact = tuple[NewArtifact, WrittenFile]


@dataclass(frozen=True)
class Exportable:
    """A confirmed policy.

    network: the compressed network's weights. suffix: of its files' names, before the dot.
    report: of the search, for a bundle.
    """

    document: PolicyDocument
    network: WrittenFile
    suffix: str
    report: bytes | None = None


@dataclass(frozen=True)
class Exports:
    """The files, and what is to be said of each format."""

    artifacts: tuple[Artifact, ...]
    notes: ExportNotes


def write_exports(
    job: OwnedJob,
    policies: Sequence[Exportable],
    formats: tuple[EngineFormat, ...],
    go_on: Callable[[], None],
) -> list[Exports]:
    """Write what the weights and the documents of confirmed policies give.

    A network that an engine cannot run is no failure of the job: the note says it.

    Args:
        job: gets the files.
        policies: each gets a model card, too.
        formats: what is wanted of each.
        go_on: called often; what it raises ends the export.

    Raises:
        StorageFailed: the disk did not take a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        orders = [
            ExportOrder(
                each.document,
                Weights(job.files.path_of(each.network.path), _program(job, each.document)),
                Path(folder) / f"network{each.suffix}",
                formats,
                each.report,
            )
            for each in policies
        ]
        place = job.files.directory
        notes = _exported(orders, place, go_on) if formats else [ExportNotes() for _ in orders]
        return [
            Exports((_card(job, each), *_stored(job, Path(folder), told)), told)
            for each, told in zip(policies, notes, strict=True)
        ]


def _exported(
    orders: Sequence[ExportOrder], data_dir: Path, go_on: Callable[[], None]
) -> list[ExportNotes]:
    """Export in one process of its own.

    torch's exporter cannot run twice at once in a process, and a worker may have two jobs.
    """
    try:
        return run_isolated(export_orders, orders, go_on=go_on)
    except InvalidInput as error:
        failure = {"failure": without_folders(str(error), data_dir)}
        return [dict.fromkeys(order.formats, failure) for order in orders]


def _program(job: OwnedJob, document: PolicyDocument) -> Path | None:
    """Return the program that the job compresses; None where the document names all there is."""
    if document.model.architecture is not None:
        return None
    program: str | None = job.row().spec["model"].get("program")
    return None if program is None else job.files.directory / program


def _card(job: OwnedJob, policy: Exportable) -> Artifact:
    card = model_card(policy.document).encode()
    return _write(job, f"card{policy.suffix}.md", "card", "text/markdown", card)


def _stored(job: OwnedJob, folder: Path, notes: ExportNotes) -> list[Artifact]:
    return [
        _write(job, name, kind, "application/octet-stream", (folder / name).read_bytes())
        for kind, told in notes.items()
        for name in told.get("files", ())
    ]


def _write(job: OwnedJob, name: str, kind: str, media_type: str, content: bytes) -> Artifact:
    written = job.files.write(f"artifacts/{job.job_id}/{name}", [content])
    return NewArtifact(job.job_id, name, kind, media_type), written
