import pytest

from automl_compress.store import Database, JobRow, SqlTrialStore
from tests.contracts.trial_store import TrialStoreContract


class TestSqlTrialStore(TrialStoreContract):
    @pytest.fixture
    def store(self, database: Database, job: JobRow) -> SqlTrialStore:
        return SqlTrialStore(database, job.id)
