"""Where jobs stand, and what their users asked for."""

from collections.abc import Mapping
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
    CONFIRMATION = "confirmation"  #: confirms another trial of a search that has ended
    EXPORT = "export"  #: writes a policy's network in a format


class DesiredState(StrEnum):
    """What the job's user last asked for."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


S = JobState
_STOPS = frozenset({S.PAUSED, S.FAILED, S.CANCELLED})
MOVES: Mapping[JobState, frozenset[JobState]] = {
    S.QUEUED: _STOPS | {S.VALIDATING},
    S.VALIDATING: _STOPS | {S.PROFILING},
    S.PROFILING: _STOPS | {S.RUNNING},
    S.RUNNING: _STOPS | {S.FINALIZING},
    S.PAUSED: frozenset({S.QUEUED, S.FAILED, S.CANCELLED}),
    S.FINALIZING: _STOPS | {S.SUCCEEDED},
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}
TERMINAL = frozenset(state for state, targets in MOVES.items() if not targets)
ACTIVE = frozenset({S.QUEUED, S.VALIDATING, S.PROFILING, S.RUNNING, S.FINALIZING})
