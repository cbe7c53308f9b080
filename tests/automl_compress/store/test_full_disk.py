"""A disk that is full for real: the kernel refuses bytes beyond a limit of the process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from automl_compress.core import Asked, Snapshot, TrialState
from automl_compress.store import Database, SqlTrialStore, events, jobs
from automl_compress.store.tables import SnapshotRow
from tests.automl_compress.store.conftest import new_job
from tests.automl_compress.store.databases import opened
from tests.automl_compress.store.measured import complete, suggestion

ROOT = Path(__file__).resolve().parents[3]

# Stores trials until the disk takes no more, and says what it was told to be stored.
PROGRAM = """
import json, resource, sys
import numpy as np
from automl_compress.core import Snapshot
from automl_compress.core.errors import StorageFailed
from automl_compress.store import Database, SqlTrialStore
from tests.automl_compress.store.measured import complete, suggestion

url, job_id, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SqlTrialStore(Database(url), job_id)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
asked = told = 0
try:
    while True:
        store.asked(suggestion(asked))
        asked += 1
        state = Snapshot({"told": told + 1}, {"weights": np.zeros(4000, np.float32)})
        store.told(complete(suggestion(told)), state)
        told += 1
except StorageFailed as error:
    print(json.dumps({"asked": asked, "told": told, "error": str(error)}))
"""


def fill(url: str, job_id: str, limit_bytes: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, job_id, str(limit_bytes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


# Transactions end at other places of these limits: within an ask, a tell, a snapshot.
@pytest.mark.parametrize("limit_bytes", [60_000, 101_000, 158_000, 255_000, 400_000])
def test_a_full_disk_leaves_no_row_half_written(tmp_path: Path, limit_bytes: int) -> None:
    url = f"sqlite:///{tmp_path}/database.sqlite"
    with opened(url) as database:
        new = new_job(database)
        with database.session() as session:
            job_id = jobs.create(session, new).id

    said = fill(url, job_id, limit_bytes)

    assert "has room" in said["error"]
    database = Database(url)
    check_what_is_stored(database, job_id, said["asked"], said["told"])
    store = SqlTrialStore(database, job_id)
    store.asked(suggestion(said["told"]))  # there is room again: it goes on where it was
    store.told(complete(suggestion(said["told"])), Snapshot({"told": said["told"] + 1}))
    check_what_is_stored(database, job_id, said["told"] + 1, said["told"] + 1)
    database.close()


def check_what_is_stored(database: Database, job_id: str, asked: int, told: int) -> None:
    """All that was acknowledged, and nothing of what was not."""
    store = SqlTrialStore(database, job_id)
    states = [trial.state for trial in store.trials()]
    snapshot, since = store.history()
    with database.reading() as session:
        row = jobs.get(session, job_id)
        happened = events.page(session, job_id, limit=200).rows
        kept = session.get(SnapshotRow, job_id)
        assert session.scalar(sa.text("PRAGMA integrity_check")) == "ok"
        assert session.execute(sa.text("PRAGMA foreign_key_check")).all() == []
    assert states == [TrialState.COMPLETE] * told + [TrialState.RUNNING] * (asked - told)
    assert all(trial.measurement is not None for trial in store.trials()[:told])
    assert (row.trials_done, row.evaluations) == (told, float(told))
    assert row.history_length == asked + told
    assert [each.seq for each in happened] == list(range(1, 1 + asked + told + 1))
    assert row.event_count == len(happened)
    assert [each.kind for each in happened].count("trial.completed") == told
    assert (snapshot is None) == (told == 0)
    if snapshot is not None and kept is not None:
        assert snapshot.values == {"told": told}
        assert kept.position == 2 * told
    assert all(isinstance(each, Asked) for each in since)
    assert len(since) == asked - told
