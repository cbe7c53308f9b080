"""Random search at the budget: the baseline at equal effort."""

from automl_agents.ledger import TrialLedger
from automl_agents.random_stream import random_stream
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial


class RandomSearcher:
    """Draws uniform shares and scales each draw to the budget.

    Draws through AMC's action bound land far below the budget (0.27 to 0.42 of the MACs where
    0.5 is allowed) and make a baseline that is too easy to beat; these are at the budget.
    """

    def __init__(self, problem: SearchProblem) -> None:
        """Take the problem.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        problem.space.check_reachable(problem.budget)
        self._problem = problem
        self._ledger = TrialLedger()

    def ask(self) -> Suggestion:
        """Propose the next draw."""
        space, budget = self._problem.space, self._problem.budget
        rng = random_stream(self._problem.seed, self._ledger.asked)
        return self._ledger.suggest(space.policy(space.sample(rng, budget)), "drawn at the budget")

    def tell(self, trial: Trial) -> None:
        """Take note of a trial; there is nothing to learn."""
        self._ledger.settle(trial)

    def snapshot(self) -> Snapshot:
        """Return the counts."""
        return Snapshot({"ledger": self._ledger.to_json()})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the counts."""
        self._ledger.restore(snapshot.values["ledger"])
