import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from automl_compress.core.errors import InvalidInput, NotFound, StorageFailed
from automl_compress.store import ArtifactFiles


@pytest.fixture
def files(tmp_path: Path) -> ArtifactFiles:
    return ArtifactFiles(tmp_path / "data")


def names(files: ArtifactFiles) -> list[str]:
    found = files.directory.rglob("*")
    return [path.relative_to(files.directory).as_posix() for path in found if path.is_file()]


def test_written_file_is_read_back(files: ArtifactFiles) -> None:
    written = files.write("artifacts/job_1/policy.json", [b"{", b"}"])

    assert (written.path, written.size_bytes) == ("artifacts/job_1/policy.json", 2)
    assert written.sha256 == hashlib.sha256(b"{}").hexdigest()
    with files.open(written.path) as stream:
        assert stream.read() == b"{}"
    assert names(files) == ["artifacts/job_1/policy.json"]


def test_interrupted_file_leaves_nothing(files: ArtifactFiles) -> None:
    def interrupted() -> None:
        with files.partial() as partial:
            partial.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()

    assert names(files) == []


def test_failed_rewrite_leaves_the_old_file(files: ArtifactFiles) -> None:
    files.write("a", [b"old"])

    def chunks():
        yield b"ne"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write("a", chunks())

    with files.open("a") as stream:
        assert stream.read() == b"old"


def test_leftovers_of_killed_processes_are_cleared(files: ArtifactFiles) -> None:
    files.write("a", [b"kept"])
    (files.directory / "partial" / "tmp123").write_bytes(b"left over")

    files.clear_partial()

    assert names(files) == ["a"]


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "", "a\\..\\b"])
def test_paths_out_of_the_directory_are_refused(files: ArtifactFiles, path: str) -> None:
    with pytest.raises(InvalidInput, match="no path within"):
        files.write(path, [b""])


def test_missing_file_is_not_found(files: ArtifactFiles) -> None:
    with pytest.raises(NotFound, match="was removed"):
        files.open("artifacts/gone")


def test_directory_that_cannot_be_written_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageFailed, match="nothing was stored"):
        ArtifactFiles(tmp_path / "file").write("a", [b""])


FILL = """
import resource, signal, sys
from pathlib import Path
from automl_compress.core.errors import StorageFailed
from automl_compress.store import ArtifactFiles

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the disk takes no more
try:
    ArtifactFiles(Path(sys.argv[1])).write("network.safetensors", [b"x" * 65536] * 4)
except StorageFailed as error:
    print(error)
"""


def test_full_disk_is_a_storage_failure_and_leaves_nothing(files: ArtifactFiles) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(files.directory)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "could not be written" in done.stdout
    assert names(files) == []
