"""The study loop, executors and the Pareto front."""

from automl_compress.search.memory import InProcessExecutor, MemoryTrialStore
from automl_compress.search.pareto import hypervolume, non_dominated
from automl_compress.search.progress import StudyEvent, StudySummary
from automl_compress.search.study import Study

__all__ = [
    "InProcessExecutor",
    "MemoryTrialStore",
    "Study",
    "StudyEvent",
    "StudySummary",
    "hypervolume",
    "non_dominated",
]
