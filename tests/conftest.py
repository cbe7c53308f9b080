"""What every test gets: one thread, fixed seeds, and the data beside the repository."""

import os

# Before torch is imported: a second OpenMP thread loses on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import random
import sys
from pathlib import Path

import numpy as np
import pytest

# The contracts' own modules are no tests by name; a failure there shows its values all the same.
pytest.register_assert_rewrite("tests.contracts")

ROOT = Path(__file__).resolve().parent.parent
SEED = 20261121


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with the same seed for each test."""
    return np.random.default_rng(SEED)


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Seed every generator that a test may use by accident; torch only where it is loaded."""
    random.seed(SEED)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(SEED)
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The measuring data that lie beside the repository; the test skips where they are absent."""
    named = os.environ.get("AUTOML_COMPRESS_SHARED_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        where = "AUTOML_COMPRESS_SHARED_DATA" if named else "../shared/data"
        pytest.skip(f"no measuring data: {where} is not a folder")
    return folder


@pytest.fixture(scope="session")
def fashion_mnist() -> Path:
    """The four idx files that Debian's dataset-fashion-mnist installs; skips without them."""
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Fashion-MNIST is not installed (Debian package dataset-fashion-mnist)")
    return folder
