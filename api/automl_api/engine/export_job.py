"""An export: a policy's network is written in a format, and run in its engine."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from automl_api.engine.drivers import SearchlessDriver
from automl_api.engine.pipeline import Finished, OwnedJob
from automl_api.engine.reports import report_of
from automl_api.settings import Settings
from automl_api.sources import ModelSource
from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.export.formats import Exported, Format, export_subject, suffix_of
from automl_compress.export.subject import Subject
from automl_compress.store import WrittenFile, policies
from automl_compress.store.artifacts import NewArtifact

_KINDS = {".md": ("card", "text/markdown"), ".safetensors": ("network", None)}


@dataclass(frozen=True)
class PolicyExport:
    """What is written.

    model: the uncut network. network: the compressed one's weights, relative to `data_dir`; None
    where cutting the uncut one gives them. folder: gets the files. report: of the search that
    found the policy, for a bundle.
    """

    data_dir: Path
    model: ModelSource
    document: PolicyDocument
    network: str | None
    format: Format
    folder: Path
    report: bytes | None


def write_export(order: PolicyExport) -> Exported:
    """Build the compressed network and write its files: the work of a process of its own.

    Raises:
        InvalidInput: the policy, the weights or the format do not go together, or a package of
            the extra `[engines]` is not installed.
        ModelInvalid: the engine lacks an operator, or computes something else than the network.
        StorageFailed: the disk did not take a file.
    """
    torch.set_num_threads(1)
    uncut = order.model.load(order.data_dir)
    weights = None if order.network is None else order.data_dir / order.network
    module = apply_policy(uncut, order.document, weights)
    path = order.folder / f"network{suffix_of(order.format)}"
    subject = Subject(module.eval(), order.document, uncut, order.report)
    return export_subject(subject, path, order.format)


class ExportPipeline:
    """Makes the drivers of exports."""

    def __init__(self, settings: Settings) -> None:
        """Use the settings of the worker."""
        self._data_dir = settings.data_dir

    def prepare(self, job: OwnedJob) -> "ExportDriver":
        """Read the policy; raises NotFound where it is gone."""
        row = job.row()
        told = row.spec["export"]
        with job.database.reading() as session:
            policy = policies.get(session, row.policy_id or "")
            report = report_of(session, policy) if told["format"] == "bundle" else None
        model, document = (
            ModelSource.from_json(row.spec["model"]),
            PolicyDocument.from_json(policy.document),
        )
        parts = self._data_dir, model, document, told["network"], told["format"]
        return ExportDriver(job, PolicyExport(*parts, folder=Path(), report=report))


class ExportDriver(SearchlessDriver):
    """An export that this process works on; another one begins it again."""

    def __init__(self, job: OwnedJob, order: PolicyExport) -> None:
        """Write nothing yet."""
        super().__init__(job)
        self._order = order

    def finalise(self) -> Finished:
        """Write the files."""
        with tempfile.TemporaryDirectory() as folder:
            order = replace(self._order, folder=Path(folder))
            # torch's exporter cannot run twice at once in a process.
            exported = run_isolated(write_export, order, go_on=self._go_on)
            artifacts = [self._stored(path) for path in exported.files]
        result: dict[str, Any] = {
            "policy_id": self._job.row().policy_id,
            "format": order.format,
            "artifacts": [new.name for new, _ in artifacts],
            "agreement": None if exported.agreement is None else exported.agreement.to_json(),
            "integer_layers": list(exported.integer_layers),
        }
        return Finished(result, "completed", artifacts=artifacts)

    def _stored(self, path: Path) -> tuple[NewArtifact, WrittenFile]:
        job = self._job
        kind, media_type = _KINDS.get(path.suffix, (self._order.format, None))
        written = job.files.write(f"artifacts/{job.job_id}/{path.name}", [path.read_bytes()])
        media_type = media_type or "application/octet-stream"
        return NewArtifact(job.job_id, path.name, kind, media_type), written
