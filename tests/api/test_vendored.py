"""The vendored files are the pinned ones, each package with its licence, and nothing else."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "api" / "vendor_scripts.py"
SPECIFICATION = importlib.util.spec_from_file_location("vendor_scripts", SCRIPT)
assert SPECIFICATION is not None
assert SPECIFICATION.loader is not None
vendor_scripts = importlib.util.module_from_spec(SPECIFICATION)
sys.modules["vendor_scripts"] = vendor_scripts  # where its dataclass looks itself up
SPECIFICATION.loader.exec_module(vendor_scripts)


def test_the_vendored_files_are_the_pinned_ones() -> None:
    pinned = dict(pair for package in vendor_scripts.PACKAGES for pair in package.files.values())

    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor_scripts.TARGET.iterdir()
    }

    assert found == pinned


def test_every_vendored_package_brings_its_licence() -> None:
    for package in vendor_scripts.PACKAGES:
        names = [name for name, _ in package.files.values()]
        assert [name for name in names if name.endswith(".LICENSE")], package.specification


def test_a_changed_file_is_refused() -> None:
    with pytest.raises(SystemExit, match="nothing was written"):
        vendor_scripts.checked(b"something else", "0" * 64, "d3.min.js")
