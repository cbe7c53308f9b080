"""The tables. Rows are plain data: no relationships, nothing is loaded behind the reader's back."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import literal

from automl_compress.core import Role, TrialState
from automl_compress.store.moments import now
from automl_compress.store.states import DesiredState, JobKind, JobState
from automl_compress.store.table import Belonging, Identifier, Json, Table


class FileRow(Belonging, Table):
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

    __table_args__ = (UniqueConstraint("account", "sha256", "purpose"),)


class ModelRow(Belonging, Table):
    """A trained network: a registered architecture, its configuration and weights.

    details: what tracing found (fingerprints, costs, layers, groups, obstacles).
    idempotency_key, request_digest: as in jobs, but the key is the account's own.
    """

    __tablename__ = "compress_model"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    source: Mapped[Json]
    weights_file_id: Mapped[str | None] = mapped_column(ForeignKey("compress_file.id"))
    details: Mapped[Json]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (Index(None, "idempotency_key", "account", unique=True),)


class DatasetRow(Belonging, Table):
    """Labelled images: a built-in set, or an uploaded file.

    details: what reading found (examples, classes, image shape, splits).
    idempotency_key, request_digest: as in models.
    """

    __tablename__ = "compress_dataset"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    source: Mapped[Json]
    file_id: Mapped[str | None] = mapped_column(ForeignKey("compress_file.id"))
    details: Mapped[Json]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (Index(None, "idempotency_key", "account", unique=True),)


class JobRow(Belonging, Table):
    """A study in the queue.

    dataset_id: None of an export, which needs none.
    policy_id: that is evaluated or exported. search_id: of the search whose trial a confirmation
        confirms. Neither of a search.
    spec: `{model, dataset, study}`, the study as `StudySpec.to_json` writes it; an evaluation or
        an export has `evaluation` or `export` in its place, a confirmation `confirmation` beside.
    attempt: counts the runs; a resumed job is a new attempt, and earlier ones stop.
    owner: the execution that may write trials now; None while nobody may.
    idempotency_key: `account/key`, since it is unique among all accounts' jobs.
    priority: waiting jobs of a higher one are taken first.
    deaths: workers that died with the job in their hands and nothing new to show for it.
    events_at_death: event_count at the last of them.
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
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("compress_dataset.id"), index=True)
    kind: Mapped[JobKind] = mapped_column(default=JobKind.SEARCH, server_default="search")
    # No foreign key: policies name their jobs already, and the two tables would form a ring.
    policy_id: Mapped[str | None] = mapped_column(String(32), index=True)
    search_id: Mapped[str | None] = mapped_column(String(32), index=True)
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
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    deaths: Mapped[int] = mapped_column(default=0, server_default="0")
    events_at_death: Mapped[int] = mapped_column(default=0, server_default="0")

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

    @property
    def data_id(self) -> str:
        """The data of a job that is no export."""
        assert self.dataset_id is not None
        return self.dataset_id


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


# Literally: of a condition with a parameter a database does not see that the index serves it.
IS_PROBE = TrialRow.role == literal("probe", literal_execute=True)
_OF_PROBES: Json = {"sqlite_where": IS_PROBE, "postgresql_where": IS_PROBE}
Index("ix_compress_trial_probes", TrialRow.job_id, TrialRow.number, **_OF_PROBES)


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


class PolicyRow(Belonging, Table):
    """A policy document; never changed once written.

    job_id, trial_number: that found it; None of one that a user brought.
    model_id: of the network that it is for; None only in rows of tests.
    weights_file_id: of the compressed network's weights, where a user brought them, too.
    digest: of the document, as it stands in it.
    """

    __tablename__ = "compress_policy"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("compress_job.id"), index=True)
    trial_number: Mapped[int | None]
    model_id: Mapped[str | None] = mapped_column(String(32), index=True)
    weights_file_id: Mapped[str | None] = mapped_column(String(32))
    digest: Mapped[str | None] = mapped_column(String(80), index=True)
    document: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("job_id", "trial_number"),)


class ArtifactRow(Table):
    """A file that a job made; its bytes lie under the data directory at `path`.

    removed_at: since when they do not any more.
    """

    __tablename__ = "compress_artifact"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("compress_job.id"))
    name: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(32))  # as in `artifacts.NewArtifact`
    media_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)
    removed_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("job_id", "name"),)


class LeaseRow(Table):
    """A worker process that is alive as long as `beats` goes on rising.

    reaped_by: the worker that declared this one dead; a reaped worker never comes back.
    version, process_id, started_at: empty where a version before 0.1.0's release wrote the row.
    clock_ahead_seconds: of the worker's clock, against the database's.
    trouble: what keeps the worker from its work, in words; None while nothing does.
    gpu: the name of the GPU that it computes on, where it has one.
    """

    __tablename__ = "compress_lease"

    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    beats: Mapped[int] = mapped_column(default=0)
    reaped_by: Mapped[str | None] = mapped_column(String(255))
    renewed_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[str | None] = mapped_column(String(64))
    process_id: Mapped[int | None]
    started_at: Mapped[datetime | None]
    clock_ahead_seconds: Mapped[float | None]
    trouble: Mapped[str | None] = mapped_column(Text)
    gpu: Mapped[str | None] = mapped_column(String(255))
