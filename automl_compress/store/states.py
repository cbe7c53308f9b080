"""Where jobs stand, and what their users asked for."""

from enum import StrEnum


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


class JobKind(StrEnum):
    """What a job does."""

    SEARCH = "search"  #: looks for policies within a budget
    EVALUATION = "evaluation"  #: scores a policy's network on other data


class DesiredState(StrEnum):
    """What the job's user last asked for."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"
