"""The vendored files are the pinned ones, each package with its licence, and nothing else."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "api" / "vendor_charts.py"
SPECIFICATION = importlib.util.spec_from_file_location("vendor_charts", SCRIPT)
assert SPECIFICATION is not None
assert SPECIFICATION.loader is not None
vendor_charts = importlib.util.module_from_spec(SPECIFICATION)
sys.modules["vendor_charts"] = vendor_charts  # where its dataclass looks itself up
SPECIFICATION.loader.exec_module(vendor_charts)


def test_the_vendored_files_are_the_pinned_ones() -> None:
    pinned = dict(pair for package in vendor_charts.PACKAGES for pair in package.files.values())

    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor_charts.TARGET.iterdir()
    }

    assert found == pinned


def test_every_vendored_package_brings_its_licence() -> None:
    for package in vendor_charts.PACKAGES:
        names = [name for name, _ in package.files.values()]
        assert [name for name in names if name.endswith(".LICENSE")], package.specification


def test_a_changed_file_is_refused() -> None:
    with pytest.raises(SystemExit, match="nothing was written"):
        vendor_charts.checked(b"something else", "0" * 64, "d3.min.js")
