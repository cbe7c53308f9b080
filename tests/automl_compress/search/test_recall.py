"""A study takes what another one measured instead of evaluating it."""

from dataclasses import replace

import pytest

from automl_agents.ledger import TrialLedger
from automl_compress.core import Recalled, SearchProblem, Snapshot, Suggestion, Trial
from automl_compress.search import MemoryTrialStore, Study
from automl_compress.search.memory import InProcessExecutor
from tests.fakes import IMAGES, FormulaEvaluator, problem_of


class SubsetThenAll:
    """Asks for the uniform policy on a tenth of the images, then on all of them."""

    def __init__(self, problem: SearchProblem) -> None:
        self.policy = problem.space.policy(problem.space.uniform(problem.budget))
        self.ledger = TrialLedger()

    def ask(self) -> Suggestion:
        images = None if self.ledger.asked else IMAGES // 10
        return self.ledger.suggest(self.policy, "why", "candidate", images)

    def tell(self, trial: Trial) -> None:
        self.ledger.settle(trial)

    def snapshot(self) -> Snapshot:
        return Snapshot({})

    def restore(self, snapshot: Snapshot) -> None: ...


@pytest.mark.parametrize("knows_all", [True, False])
def test_recalled_parts_are_not_evaluated_and_counted_once(knows_all: bool) -> None:
    problem, store = problem_of(evaluations=1), MemoryTrialStore()
    evaluator, other = FormulaEvaluator(problem.space), FormulaEvaluator(problem.space)

    def recall(suggestion: Suggestion, first_image: int) -> Recalled | None:
        if suggestion.images is None and not knows_all:
            return None
        measured = other.evaluate(suggestion.policy, slice(0, suggestion.images))
        effort = problem.evaluations(measured.total - first_image)
        spent = replace(measured, evaluations=effort, wall_seconds=3.0, cpu_seconds=2.0)
        return Recalled(spent, "job job_1, trial 7")

    summary = Study(
        SubsetThenAll(problem),
        InProcessExecutor(evaluator),
        store,
        problem.space,
        problem.budget,
        problem.effort,
        recall=recall,
    ).run()

    part, whole = store.trials()
    assert summary.evaluations == pytest.approx(1.0)
    assert len(evaluator.calls) == (0 if knows_all else 1)
    assert part.note == "why; measured in job job_1, trial 7"
    assert part.measurement is not None
    assert whole.measurement is not None
    assert (part.measurement.total, whole.measurement.total) == (IMAGES // 10, IMAGES)
    assert part.measurement.cpu_seconds == part.measurement.wall_seconds == 0.0
    assert whole.measurement.evaluations == pytest.approx(0.9)
    assert whole.score == pytest.approx(other.evaluate(whole.policy).score, abs=1e-3)
