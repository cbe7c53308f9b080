"""What callers are told of files: their names, not where they lie."""

import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from automl_api.engine.failure import problem_of
from automl_api.places import without_folders
from automl_compress.core.errors import DataInvalid

DATA = Path("/srv/amc/data dir")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{DATA}/files/0a.npz holds nothing", "0a.npz holds nothing"),
        (f"'images' of {DATA}/files/0a.npz.", "'images' of 0a.npz."),
        (f"[Errno 2] No such file: '{DATA}/files/0a.pt2'", "[Errno 2] No such file: '0a.pt2'"),
        (f"{DATA}/files/0a.npz, row 3", "0a.npz, row 3"),
        (f"{DATA} is full", "data dir is full"),
        (f"{tempfile.gettempdir()}/tmpx/train.parquet: no", "train.parquet: no"),
        (f"in {sys.prefix}/lib/python3/site-packages/x.py", "in x.py"),
        (f"in {sysconfig.get_path('stdlib')}/zipfile.py", "in zipfile.py"),
        (f"{Path.home()}/.cache/compiled/a.so: no", "a.so: no"),
        ("POST /v1/files, then /v1/models", "POST /v1/files, then /v1/models"),
        ("/totals/macs/after is 3", "/totals/macs/after is 3"),
        ("the member 'train/a/1.png' of x.zip", "the member 'train/a/1.png' of x.zip"),
        (f"{DATA}-other/files/x", f"{DATA}-other/files/x"),
    ],
)
def test_only_the_names_of_files_are_told(text: str, told: str) -> None:
    assert without_folders(text, DATA) == told


def test_a_relative_data_directory_is_left_out_and_its_name_is_a_word() -> None:
    told = without_folders("data/files/x.npz are no data; metadata/x, data too", Path("data"))

    assert told == "x.npz are no data; metadata/x, data too"


@pytest.mark.parametrize("kind", [DataInvalid, OSError])
def test_a_failed_job_does_not_say_where_its_worker_has_its_files(kind: type[Exception]) -> None:
    told = problem_of(kind(f"{DATA}/files/0a.npz cannot be read"), "job_x", DATA)

    assert "0a.npz cannot be read" in told["detail"]
    assert "/srv" not in str(told)
