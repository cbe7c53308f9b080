"""What one evaluation may take of a machine before it is killed."""

import os
from dataclasses import dataclass
from pathlib import Path

# So many times what the uncut network takes, for repair and for a machine that others use too.
UNCUT_EVALUATIONS = 30.0
LEAST_SECONDS = 60.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """The limits of every trial of a study; None for no limit.

    seconds: wall time of one evaluation, above 0; starting the process is not counted.
    memory_bytes: resident memory of the evaluating process, above 0; torch alone takes some
        300 MB of it.
    """

    seconds: float | None = None
    memory_bytes: int | None = None

    @property
    def too_long(self) -> str:
        """Why a trial failed that took longer."""
        return (
            f"the evaluation took longer than its limit of {self.seconds:g} s and was killed; "
            "raise the limit of a trial's seconds if it needs more"
        )

    def too_large(self, used_bytes: int) -> str:
        """Say why a trial failed that used so much memory."""
        return (
            f"the evaluation used {used_bytes:,} bytes of memory, its limit is "
            f"{self.memory_bytes:,}, and was killed; raise the limit of a trial's memory, or "
            "lower the recipe's batch_size"
        )


def default_seconds(uncut_seconds: float) -> float:
    """Return the time limit of a trial where the uncut network took so long on the same images."""
    return max(LEAST_SECONDS, UNCUT_EVALUATIONS * uncut_seconds)


def resident_bytes(process_id: int) -> int:
    """Return the memory that a process has in use now; 0 once it is gone."""
    try:
        pages = Path(f"/proc/{process_id}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * PAGE_BYTES


def be_the_first_to_go() -> None:
    """Have the kernel end this process, rather than its parent, when memory runs out."""
    # A system that forbids it, or is no Linux, ends whom it will.
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return
