"""The long form: `python -m tests.file_fuzzing --files 100000`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.file_fuzzing.container_files import CONTAINERS
from tests.file_fuzzing.program_files import PROGRAMS
from tests.file_fuzzing.watching import Marker, Report, fuzz

SHOWN_EVERY = 1000


def main() -> None:
    """Read so many changed files of each kind; the exit code says whether anything was found."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--files", type=int, default=100_000, help="of each kind")
    told.add_argument("--first", type=int, default=0, help="number to begin, or to go on, with")
    told.add_argument("--kind", choices=("program", "container"), help="one kind alone")
    chosen = told.parse_args()
    has_findings = False
    for subject in (PROGRAMS, CONTAINERS):
        if chosen.kind not in (None, subject.name):
            continue
        numbers = range(chosen.first, chosen.first + chosen.files)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            marker = Marker(Path(folder) / "marker")
            report = fuzz(subject, numbers, marker, show=_shown(subject.name))
        print(f"{subject.name}: {report}; {time.monotonic() - began:.0f} s in all")
        for number, finding in report.findings.items():
            print(f"  file {number}: {finding[:500]}")
        has_findings |= bool(report.findings)
    sys.exit(has_findings)


def _shown(name: str) -> Callable[[Report], None]:
    def show(report: Report) -> None:
        if report.files % SHOWN_EVERY == 0:
            print(f"{name}: {report}", flush=True)

    return show


if __name__ == "__main__":
    main()
