"""The tables. Rows are plain data: no relationships, nothing is loaded behind the reader's back.

All names begin with `compress_`, for other tools (the job engine, a dashboard) may live in the
same database.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Enum,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from automl_compress.core import Role, TrialState
from automl_compress.store.moments import UtcDateTime, now

Json = dict[str, Any]


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  #: waits for a worker
    VALIDATING = "validating"  #: a worker loads and traces the network
    PROFILING = "profiling"  #: the uncut network is measured
    RUNNING = "running"  #: trials are evaluated
    PAUSED = "paused"  #: stopped by its user; may go on
    FINALIZING = "finalizing"  #: the best trials are confirmed and exported
    SUCCEEDED = "succeeded"  #: policy and network are stored
    FAILED = "failed"  #: `error` says why
    CANCELLED = "cancelled"  #: stopped by its user for good


class DesiredState(StrEnum):
    """What the job's user last asked for."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


def _values(members: type[StrEnum]) -> list[str]:
    return [member.value for member in members]


def _words(enumeration: type[StrEnum]) -> Enum:
    return Enum(enumeration, native_enum=False, length=16, values_callable=_values)


class Table(DeclarativeBase):
    """Base of the tables; constraints carry names, so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        Json: JSON,
        datetime: UtcDateTime,
        int: BigInteger,
        float: Float(53),
        JobState: _words(JobState),
        DesiredState: _words(DesiredState),
        TrialState: _words(TrialState),
    }


Identifier = String(32)


class FileRow(Table):
    """An uploaded file; its bytes lie under the data directory at `path`."""

    __tablename__ = "compress_file"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))  # model or dataset
    name: Mapped[str] = mapped_column(String(255))
    format: Mapped[str] = mapped_column(String(32))
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("sha256", "purpose"),)


class ModelRow(Table):
    """A trained network: a registered architecture, its configuration and weights.

    details: what tracing found (fingerprints, costs, layers, groups, obstacles).
    """

    __tablename__ = "compress_model"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    source: Mapped[Json]
    weights_file_id: Mapped[str | None] = mapped_column(ForeignKey("compress_file.id"))
    details: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(default=now)


class DatasetRow(Table):
    """Labelled images: a built-in set, or an uploaded file.

    details: what reading found (examples, classes, image shape, splits).
    """

    __tablename__ = "compress_dataset"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    source: Mapped[Json]
    file_id: Mapped[str | None] = mapped_column(ForeignKey("compress_file.id"))
    details: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(default=now)


class JobRow(Table):
    """A study in the queue.

    spec: `{model, dataset, study}`, the study as `StudySpec.to_json` writes it.
    attempt: counts the runs; a resumed job is a new attempt, and earlier ones stop.
    owner: the execution that may write trials now; None while nobody may.
    evaluations: effort spent; elapsed_seconds: of the study, all runs together.
    eta_seconds: expected time to the study's end.
    baseline, result: what was measured of the uncut network, and of the best policies.
    error: an RFC 9457 problem document.
    event_count, history_length: the last number given out; both rise under this row's lock.
    """

    __tablename__ = "compress_job"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    model_id: Mapped[str] = mapped_column(ForeignKey("compress_model.id"), index=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("compress_dataset.id"), index=True)
    spec: Mapped[Json]
    tags: Mapped[Json] = mapped_column(default=dict)
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    request_digest: Mapped[str | None] = mapped_column(String(64))

    state: Mapped[JobState] = mapped_column(default=JobState.QUEUED, index=True)
    desired_state: Mapped[DesiredState] = mapped_column(default=DesiredState.RUN)
    stop_reason: Mapped[str | None] = mapped_column(String(32))
    error: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    attempt: Mapped[int] = mapped_column(default=1)
    owner: Mapped[str | None] = mapped_column(String(255))

    baseline: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    result: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    trials_done: Mapped[int] = mapped_column(default=0)
    evaluations: Mapped[float] = mapped_column(default=0.0)
    elapsed_seconds: Mapped[float] = mapped_column(default=0.0)
    eta_seconds: Mapped[float | None]
    best_score: Mapped[float | None]
    best_number: Mapped[int | None]
    event_count: Mapped[int] = mapped_column(default=0)
    history_length: Mapped[int] = mapped_column(default=0)

    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class TrialRow(Table):
    """A suggestion and its outcome.

    role, images: as in core's `Suggestion`. score: by which trials compete; empty for probes and
        subsets, whose own score stands in the measurement.
    policy_digest: finds trials of the same policy; empty for those of before it was kept.
    asked_position, told_position: places in the searcher's history of asks and tells.
    """

    __tablename__ = "compress_trial"

    job_id: Mapped[str] = mapped_column(ForeignKey("compress_job.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(Identifier, unique=True)
    state: Mapped[TrialState]
    policy: Mapped[dict[str, Any]] = mapped_column(JSON)
    policy_digest: Mapped[str | None] = mapped_column(String(64), index=True)
    note: Mapped[str] = mapped_column(Text, default="")
    role: Mapped[Role] = mapped_column(String(16), default="candidate")
    images: Mapped[int | None]
    measurement: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    score: Mapped[float | None]
    failure: Mapped[str | None] = mapped_column(Text)
    asked_position: Mapped[int]
    told_position: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "job_id", "score"),)


class SnapshotRow(Table):
    """The searcher's latest state, as safetensors bytes; `position` is the last event in it."""

    __tablename__ = "compress_snapshot"

    job_id: Mapped[str] = mapped_column(ForeignKey("compress_job.id"), primary_key=True)
    position: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class EventRow(Table):
    """Something that happened to a job; `seq` counts from 1 without gaps."""

    __tablename__ = "compress_event"

    job_id: Mapped[str] = mapped_column(ForeignKey("compress_job.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(32))
    data: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(default=now)


class PolicyRow(Table):
    """A policy document; never changed once written."""

    __tablename__ = "compress_policy"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("compress_job.id"), index=True)
    trial_number: Mapped[int | None]
    document: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("job_id", "trial_number"),)


class ArtifactRow(Table):
    """A file that a job made; its bytes lie under the data directory at `path`."""

    __tablename__ = "compress_artifact"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("compress_job.id"))
    name: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(32))  # network, policy, card, onnx or report
    media_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("job_id", "name"),)


class LeaseRow(Table):
    """A worker process that is alive as long as `beats` goes on rising.

    reaped_by: the worker that declared this one dead; a reaped worker never comes back.
    """

    __tablename__ = "compress_lease"

    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    beats: Mapped[int] = mapped_column(default=0)
    reaped_by: Mapped[str | None] = mapped_column(String(255))
    renewed_at: Mapped[datetime] = mapped_column(default=now)
