"""The short form of `make fuzz-files`, and what its watch sees."""

import random
from pathlib import Path

import pytest

from tests.file_fuzzing.container_files import CONTAINERS
from tests.file_fuzzing.faulty_files import FAULTY
from tests.file_fuzzing.program_files import PROGRAMS
from tests.file_fuzzing.watching import MEGABYTE, Marker, Subject, Watch, fuzz

FILES = 250


@pytest.mark.slow
@pytest.mark.parametrize("subject", [PROGRAMS, CONTAINERS], ids=lambda subject: subject.name)
def test_changed_files_are_read_or_refused(subject: Subject, tmp_path: Path) -> None:
    report = fuzz(subject, range(FILES), Marker(tmp_path / "marker"))

    assert not report.findings, report
    assert report.files == FILES
    assert min(report.taken, report.refused) > FILES / 50, "both happen"


def test_a_crash_a_hang_and_a_bomb_are_found_and_the_rest_is_read(tmp_path: Path) -> None:
    numbers = range(1181, 1197)  # among which each bug shows once
    watch = Watch(cpu_seconds=0.5, memory_bytes=32 * MEGABYTE)

    report = fuzz(FAULTY, numbers, Marker(tmp_path / "marker"), watch)

    bugs = {0: "exit code 3", 1: "no answer", 2: "bytes", 3: "taken wrongly"}
    kinds = {number: random.Random(number).randbytes(1)[0] % 32 for number in numbers}
    expected = {number: bugs[kind] for number, kind in kinds.items() if kind in bugs}
    assert sorted(expected.values()) == sorted(bugs.values())
    assert set(report.findings) == set(expected)
    for number, finding in report.findings.items():
        assert expected[number] in finding
    assert report.files == len(numbers)


def test_a_payload_that_ran_is_found(tmp_path: Path) -> None:
    marker = Marker(tmp_path / "marker")
    eval(marker.expression)  # noqa: S307 - the point of the test

    assert fuzz(CONTAINERS, range(0), marker).findings == {-1: "a payload ran"}
