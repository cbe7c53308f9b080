"""The knobs of the four searchers that Optuna drives; loads no Optuna."""

from dataclasses import dataclass
from typing import Any, Literal

from automl_agents.decisions import open_decisions
from automl_compress.core import Effort, SearchProblem
from automl_compress.core.errors import InvalidInput

BudgetHandling = Literal["repair", "constraint"]

LARGEST_COUNT = 10_000  # of policies or draws that are held at once
NSGA2_GENERATIONS = 20  # that the effort is divided into


@dataclass(frozen=True, slots=True)
class TpeConfig:
    """Tree-structured Parzen estimator, multivariate.

    startup_evaluations: how many policies are drawn at random first.
    candidates: draws from the density of good policies, of which the most promising is asked.
    budget_handling: `repair` scales every proposal to the budget. `constraint` takes proposals
        as they are: those over the budget are not evaluated, the sampler is told by how much
        they are over and draws again.
    draws: in `constraint`, after so many proposals over the budget the last one is repaired.
    profile_share: of the effort, for a sensitivity profile; the knapsack's solutions on it are
        asked first. 0 does without.
    """

    startup_evaluations: int = 10
    candidates: int = 24
    budget_handling: BudgetHandling = "repair"
    draws: int = 20
    profile_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        _check_counts(self, startup_evaluations=1, candidates=1, draws=1)
        _check_shares(self, "profile_share")


@dataclass(frozen=True, slots=True)
class Nsga2Config:
    """Genetic algorithm of one objective: elitist, binary tournaments, uniform crossover.

    population: policies in a generation; None for a twentieth of the effort, 4 at least.
    mutation_rate: share of the decisions of a child that are drawn anew; None for one of them
        on average.
    crossover_rate: share of the children that have two parents.
    budget_handling: see `TpeConfig`; with constraints, policies over the budget fill places of
        a generation, as NSGA-II's authors have it.
    draws: see `TpeConfig`.
    profile_share: see `TpeConfig`.
    """

    population: int | None = None
    mutation_rate: float | None = None
    crossover_rate: float = 0.9
    budget_handling: BudgetHandling = "repair"
    draws: int = 20
    profile_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        _check_counts(self, population=2, draws=1)
        _check_shares(self, "mutation_rate", "crossover_rate", "profile_share")

    def size(self, effort: Effort) -> int:
        """Return how many policies make a generation."""
        return self.population or max(round(effort.evaluations / NSGA2_GENERATIONS), 4)


@dataclass(frozen=True, slots=True)
class CmaesConfig:
    """Covariance matrix adaptation, from the knapsack's first solution outwards.

    population: policies in a generation; None for 4 + 3 ln(decisions).
    sigma: first standard deviation, as a share of each decision's range.
    profile_share: see `TpeConfig`; without a profile the search begins at the uniform policy.
    """

    population: int | None = None
    sigma: float = 0.2
    profile_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        _check_counts(self, population=3)
        _check_shares(self, "profile_share")
        if not 0.0 < self.sigma <= 1.0:
            raise InvalidInput(f"sigma is {self.sigma!r}; give a number above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class GpConfig:
    """Gaussian process with expected improvement.

    startup_evaluations: see `TpeConfig`.
    max_decisions, max_evaluations: larger searches are refused. The process is fitted anew for
        every ask, in time that grows with the cube of the evaluations.
    profile_share: see `TpeConfig`.
    """

    startup_evaluations: int = 10
    max_decisions: int = 64
    max_evaluations: int = 400
    profile_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        _check_counts(self, startup_evaluations=1, max_decisions=1, max_evaluations=1)
        _check_shares(self, "profile_share")

    def refuses(self, problem: SearchProblem) -> str | None:
        """Say why a search is too large; None where it is not."""
        decisions = len(open_decisions(problem.space, problem.budget.metric))
        if decisions > self.max_decisions:
            return (
                f"{decisions} decisions are open and its option max_decisions is "
                f"{self.max_decisions}; skip or fix groups and layers"
            )
        if problem.effort.evaluations > self.max_evaluations:
            return (
                f"the effort is {problem.effort.evaluations:g} evaluations and its option "
                f"max_evaluations is {self.max_evaluations}; spend fewer"
            )
        return None


def _check_counts(config: Any, **least: int) -> None:
    for name, lowest in least.items():
        value = getattr(config, name)
        if value is not None and value < lowest:
            raise InvalidInput(f"{name} is {value!r}; give an integer of at least {lowest}")
        if value is not None and value > LARGEST_COUNT:
            raise InvalidInput(f"{name} is {value:,}; give {LARGEST_COUNT:,} at most")


def _check_shares(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0.0 <= value <= 1.0:
            raise InvalidInput(f"{name} is {value!r}; give a number from 0 to 1")
