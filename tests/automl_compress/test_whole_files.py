"""Whatever goes wrong, the old file is still there and nothing else is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from automl_compress.whole_files import PRIVATE, unnamed_file, write_whole


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, [b"old"])
    write_whole(path, [b"n", b"ew"])

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_on_the_way_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, [b"old"])

    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, chunks())

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_refuses_the_last_bytes_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, [b"old"])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, [b"new"])

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file_unless_asked_otherwise(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_whole(tmp_path / "whole", [b""])
    with unnamed_file(tmp_path, PRIVATE) as unnamed:
        unnamed.keep(tmp_path / "private")

    assert (tmp_path / "whole").stat().st_mode == plain.stat().st_mode
    assert (tmp_path / "private").stat().st_mode & 0o777 == PRIVATE
