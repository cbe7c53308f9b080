"""A whole study in this process."""

from automl_compress.core import Searcher, SearchProblem, Trial
from automl_compress.core.protocols import Evaluator
from automl_compress.search import InProcessExecutor, MemoryTrialStore, Study, StudySummary


def run_study(
    searcher: Searcher, evaluator: Evaluator, problem: SearchProblem
) -> tuple[StudySummary, list[Trial]]:
    store = MemoryTrialStore()
    summary = Study(
        searcher,
        InProcessExecutor(evaluator),
        store,
        problem.space,
        problem.budget,
        problem.effort,
        accuracy_floor=problem.accuracy_floor,
    ).run()
    return summary, list(store.trials())
