"""What keeps a process from its work, in words: a disk that takes nothing, a newer database."""

import shutil
import tempfile
from pathlib import Path

from automl_compress.core.errors import WrongState
from automl_compress.store import Database

LEAST_FREE_BYTES = 500_000_000
MOST_CLOCK_SECONDS = 5.0  # between this clock and another: shown times would mislead


def disk_trouble(folder: Path) -> str | None:
    """Say why files cannot be stored below a folder; None when they can."""
    place = existing(folder.absolute())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        return f"{place} cannot be written ({error.strerror}); make room, or mount it writable"
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        return f"{free / 1e9:.1f} GB free at {place}; make room"
    return None


def version_trouble(database: Database) -> str | None:
    """Say that the tables are not of this version; None when they are.

    Raises:
        StorageFailed: the database is gone.
    """
    try:
        database.check()
    except WrongState as error:
        return str(error)
    return None


def clock_trouble(ahead_seconds: float | None) -> str | None:
    """Say that a clock and the database's disagree; None when they do not."""
    if ahead_seconds is None or abs(ahead_seconds) <= MOST_CLOCK_SECONDS:
        return None
    side = "ahead of" if ahead_seconds > 0 else "behind"
    return (
        f"the clock is {abs(ahead_seconds):.0f} s {side} the database's, so times mislead; "
        "have both kept by NTP"
    )


def existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path
