"""Finished stages of a job's confirmations, stored as they land."""

from pathlib import Path
from typing import Any, cast

from sqlalchemy.orm import Session

from automl_api.engine.pipeline import OwnedJob
from automl_compress.evaluate.stages import Stage, StageReport
from automl_compress.store import WrittenFile, artifacts, events, retention, stages
from automl_compress.store.artifacts import NewArtifact


class JobStages:
    """A `StageLog` of one job: an event for each stage, and the checkpoint of the latest.

    Event and checkpoint are stored in one transaction, behind the checkpoint's bytes. That of the
    stage before goes then: it could be had again, and networks take room.
    """

    def __init__(self, job: OwnedJob) -> None:
        """Store in a job that is in the state `finalizing`."""
        self._job = job

    def latest(self, subject: int | None) -> tuple[Stage, Path] | None:
        """Return the last stage whose checkpoint is there."""
        told = [each for each in self._told(subject) if each["checkpoint"] is not None]
        if not told:
            return None
        path = self._job.files.path_of(self._path(told[-1]["checkpoint"]))
        return (cast("Stage", told[-1]["stage"]), path) if path.is_file() else None

    def keep(self, report: StageReport, checkpoint: bytes | None) -> None:
        """Store a stage; one that was interrupted behind its event is not told again.

        Raises:
            StorageFailed: the disk or the database did not take it.
            JobTaken: the job was paused or cancelled, or belongs to another execution.
        """
        before = self._told(report.subject)
        name = None if checkpoint is None else _name(report.subject, report.stage)
        written = None
        if name is not None and checkpoint is not None:
            written = self._job.files.write(self._path(name), [checkpoint])
        is_new = report.stage not in [each["stage"] for each in before]
        outdated = [each["checkpoint"] for each in before if each["checkpoint"] not in (None, name)]
        with self._job.session() as (session, _):
            if name is not None and written is not None:
                self._put(session, name, written)
                self._note_removed(session, outdated)
            if is_new:
                data = {**report.to_json(), "checkpoint": name}
                events.append(session, self._job.job_id, stages.FINISHED, data)
        self._job.on_event()
        if written is not None:
            for each in outdated:
                self._job.files.remove(self._path(each))

    def _told(self, subject: int | None) -> list[dict[str, Any]]:
        with self._job.database.reading() as session:
            told = [each.data for each in stages.of_job(session, self._job.job_id)]
        return [each for each in told if each["trial_number"] == subject]

    def _put(self, session: Session, name: str, written: WrittenFile) -> None:
        media_type = "application/octet-stream"
        new = NewArtifact(self._job.job_id, name, "checkpoint", media_type)
        artifacts.put(session, new, written)

    def _note_removed(self, session: Session, names: list[str]) -> None:
        rows = artifacts.of_job(session, self._job.job_id)
        retention.note_removed(session, [row.id for row in rows if row.name in names])

    def _path(self, name: str) -> str:
        return f"artifacts/{self._job.job_id}/{name}"


def _name(subject: int | None, stage: Stage) -> str:
    which = "uncut" if subject is None else f"trial-{subject}"
    return f"{which}-{stage}.safetensors"
