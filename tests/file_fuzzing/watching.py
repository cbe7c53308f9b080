"""Reads changed files in a process that is watched, so that crashes and hangs are found too."""

import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MEGABYTE = 2**20
ADDRESS_BYTES = 16 * 1024 * MEGABYTE  # what libraries reserve, and something to find a bomb by
STARTING_SECONDS = 120.0


@dataclass(frozen=True)
class Marker:
    """A file that a payload would leave, were it ever run."""

    path: Path

    @property
    def expression(self) -> str:
        """The payload as a text that evaluation would run."""
        return f"__import__('pathlib').Path({str(self.path)!r}).touch()"


class Payload:
    """Leaves the marker when it is unpickled."""

    def __init__(self, marker: Marker) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker.path,)


@dataclass(frozen=True)
class Changed:
    """A changed file; damaged where checksums that it carries no longer hold."""

    content: bytes
    is_damaged: bool = False


@dataclass(frozen=True)
class Subject:
    """A reader and how its files are made.

    make: a file of a seeded generator; the same for the same seed.
    judge: reads one and says whether it was taken; raises for anything but a clean refusal.
    """

    name: str
    make: Callable[[random.Random, Marker], Changed]
    judge: Callable[[Changed], bool]


@dataclass(frozen=True)
class Watch:
    """What one file may take.

    cpu_seconds: of the reading process; a busy machine finds no hang where there is none.
    silent_seconds: until it is answered, also where the process only waits.
    memory_bytes: beyond the idle process.
    """

    cpu_seconds: float = 30.0
    silent_seconds: float = 600.0
    memory_bytes: int = 256 * MEGABYTE


@dataclass
class Report:
    """What became of the files; `findings` are by their numbers."""

    taken: int = 0
    refused: int = 0
    slowest_seconds: float = 0.0
    memory_bytes: int = 0
    findings: dict[int, str] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """How many were read."""
        return self.taken + self.refused + len(self.findings)

    def add(self, number: int, answer: "_Answer", watch: Watch) -> None:
        """Count one answer."""
        self.slowest_seconds = max(self.slowest_seconds, answer.seconds)
        is_new_peak = answer.memory_bytes > max(self.memory_bytes, watch.memory_bytes)
        self.memory_bytes = max(self.memory_bytes, answer.memory_bytes)
        if answer.problem or is_new_peak:
            self.findings[number] = answer.problem or f"took {answer.memory_bytes:,} bytes"
        elif answer.is_taken:
            self.taken += 1
        else:
            self.refused += 1

    def __str__(self) -> str:
        return (
            f"{self.files:,} files: {self.taken:,} taken, {self.refused:,} refused, "
            f"{len(self.findings)} findings; {self.slowest_seconds:.2f} s of a processor at most, "
            f"{self.memory_bytes / MEGABYTE:.0f} MB beyond the idle process"
        )


@dataclass(frozen=True)
class _Answer:
    is_taken: bool
    seconds: float
    memory_bytes: int
    problem: str = ""


def fuzz(
    subject: Subject,
    numbers: range,
    marker: Marker,
    watch: Watch | None = None,
    show: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Read the files of these numbers, whatever single ones of them do.

    Args:
        subject: reader and maker.
        numbers: each is the seed of one file.
        marker: that no file must leave.
        watch: what one file may take; None for the usual.
        show: called with the report after every file.
    """
    watch, report = watch or Watch(), Report()
    while len(numbers):
        for number, answer in _watched(subject, numbers, marker, watch):
            report.add(number, answer, watch)
            numbers = numbers[1:]
            show(report)
    if marker.path.exists():
        report.findings[-1] = "a payload ran"
    return report


def _watched(
    subject: Subject, numbers: range, marker: Marker, watch: Watch
) -> Iterator[tuple[int, _Answer]]:
    """Yield the answers of one process; the last one says how it ended, where it did not end well.

    The process is silent while it imports, so its first word is only that it began.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_read, args=(theirs, subject, numbers, marker), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(STARTING_SECONDS), "the reading process did not start"
        ours.recv()
        for number in numbers:
            if not _is_answered(ours, process.pid, watch):
                yield number, _Answer(False, 0.0, 0, "no answer: it hangs")
                return
            try:
                yield number, ours.recv()
            except EOFError:
                process.join()
                ended = f"the process ended with exit code {process.exitcode}"
                yield number, _Answer(False, 0.0, 0, ended)
                return
    finally:
        process.kill()
        process.join()
        ours.close()


def _is_answered(pipe: Connection, process_id: int | None, watch: Watch) -> bool:
    """Wait for the next answer as long as it may take."""
    began, cpu_began = time.monotonic(), _cpu_seconds(process_id)
    while not pipe.poll(min(1.0, watch.silent_seconds)):
        if _cpu_seconds(process_id) - cpu_began > watch.cpu_seconds:
            return False
        if time.monotonic() - began > watch.silent_seconds:
            return False
    return True


def _cpu_seconds(process_id: int | None) -> float:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it has ended, which the pipe tells
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # of user and system


def _read(pipe: Connection, subject: Subject, numbers: range, marker: Marker) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send("begun")
    idle_bytes = 0
    for number in numbers:
        changed = subject.make(random.Random(number), marker)
        began, is_taken, problem = time.process_time(), False, ""
        try:
            is_taken = subject.judge(changed)
        except Exception as error:  # whatever a reader may not raise is what is looked for
            problem = repr(error)
        # The first file loads what is loaded when it is needed.
        idle_bytes = idle_bytes or _peak_bytes()
        spent = time.process_time() - began
        pipe.send(_Answer(is_taken, spent, _peak_bytes() - idle_bytes, problem))


def _peak_bytes() -> int:
    # Not ru_maxrss, which a new process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
