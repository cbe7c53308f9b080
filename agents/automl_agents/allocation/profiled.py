"""What searchers have in common that measure a sensitivity profile and ask a list of candidates."""

from collections.abc import Mapping
from typing import Any

from automl_agents.allocation.candidates import CandidateList
from automl_agents.allocation.config import ProfileOptions
from automl_agents.allocation.profile import SensitivityProfile
from automl_agents.allocation.profile_plan import plan_profile
from automl_agents.ledger import TrialLedger
from automl_compress.core import SearchProblem, Suggestion, Trial


class ProfiledCandidates:
    """A profile and a list of candidates that share one ledger.

    Attributes:
        ledger: of all trials.
        profile: its probes.
        candidates: everything else.
    """

    def __init__(
        self, problem: SearchProblem, options: ProfileOptions, evaluations: float | None = None
    ) -> None:
        """Plan the profile; there is no candidate yet.

        Args:
            problem: what is searched.
            options: of the profile.
            evaluations: of which the profile gets its share; None for the whole effort.
        """
        self.ledger = TrialLedger()
        self.candidates = CandidateList(problem.space)
        effort = problem.effort.evaluations if evaluations is None else evaluations
        share = options.profile_share * effort
        plan = plan_profile(problem, share, options.levels, options.profile_images)
        self.profile = SensitivityProfile(problem.space, plan)

    def probe(self) -> Suggestion:
        """Ask the profile's next probe; it must have one."""
        return self.profile.ask(self.ledger)

    def candidate(self) -> Suggestion:
        """Ask the next candidate, or the best one where none is new; one was added before."""
        return self.candidates.ask(self.ledger)

    def tell(self, trial: Trial) -> bool:
        """Take a probe into the profile, or compare a candidate; return whether it was one.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self.ledger.settle(trial)
        if self.profile.tell(trial):
            return False
        self.candidates.tell(trial)
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        return {
            "ledger": self.ledger.to_json(),
            "profile": self.profile.to_json(),
            "candidates": self.candidates.to_json(),
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        self.ledger.restore(content["ledger"])
        self.profile.restore(content["profile"])
        self.candidates.restore(content["candidates"])
