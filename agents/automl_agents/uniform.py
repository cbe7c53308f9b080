"""The baseline that every search has to beat: the same share everywhere."""

from automl_agents.ledger import TrialLedger
from automl_compress.core import SearchProblem, Snapshot, Suggestion, Trial


class UniformSearcher:
    """Asks for one policy, again and again: one common share, as large as the budget allows.

    A study answers the repetitions without evaluating; give it an effort of one evaluation.
    """

    def __init__(self, problem: SearchProblem) -> None:
        """Find the policy.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        self._policy = problem.space.policy(problem.space.uniform(problem.budget))
        self._ledger = TrialLedger()

    def ask(self) -> Suggestion:
        """Propose the uniform policy."""
        return self._ledger.suggest(self._policy, "one share for every decision")

    def tell(self, trial: Trial) -> None:
        """Take note of a trial; there is nothing to learn."""
        self._ledger.settle(trial)

    def snapshot(self) -> Snapshot:
        """Return the counts."""
        return Snapshot({"ledger": self._ledger.to_json()})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the counts."""
        self._ledger.restore(snapshot.values["ledger"])
