"""SQL tables of trials, events and artifacts, and their migrations.

The repositories are modules of functions that take a session: `files`, `models`, `datasets`,
`targets`, `jobs`, `trials`, `browsing`, `events`, `policies`, `artifacts`, `baselines`, `leases`.
None of them commits.
"""

from automl_compress.store.artifact_files import ArtifactFiles, PartialFile, WrittenFile
from automl_compress.store.database import Database
from automl_compress.store.key_tables import KeyRow
from automl_compress.store.paging import Page
from automl_compress.store.recall import SqlRecall
from automl_compress.store.tables import (
    ArtifactRow,
    DatasetRow,
    DesiredState,
    EventRow,
    FileRow,
    JobKind,
    JobRow,
    JobState,
    ModelRow,
    PolicyRow,
    TrialRow,
)
from automl_compress.store.target_table import TargetRow
from automl_compress.store.trials import SqlTrialStore

__all__ = [
    "ArtifactFiles",
    "ArtifactRow",
    "Database",
    "DatasetRow",
    "DesiredState",
    "EventRow",
    "FileRow",
    "JobKind",
    "JobRow",
    "JobState",
    "KeyRow",
    "ModelRow",
    "Page",
    "PartialFile",
    "PolicyRow",
    "SqlRecall",
    "SqlTrialStore",
    "TargetRow",
    "TrialRow",
    "WrittenFile",
]
