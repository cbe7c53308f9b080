"""The knobs of MetaPruning's search, in its published and its corrected form."""

from dataclasses import dataclass
from typing import Literal, get_args

from automl_compress.core import SearchProblem
from automl_compress.core.errors import InvalidInput

Mode = Literal["corrected", "faithful"]
GENERATIONS = 20  # in an effort, where the size of one is left open; published: 20 of 50
SMALLEST_POPULATION, FEWEST_PARENTS = 6, 3


@dataclass(frozen=True, slots=True)
class MetaPruningConfig:
    """Everything that decides the evolution. The defaults are the corrected mode.

    mode: `corrected`, whose candidates are scaled to the budget and whose first is the uniform
        policy; or `faithful` to the public code, which draws again what is over the budget.
    population: candidates of a generation; None for a twentieth of what the effort pays.
    parents: how many of the best so far have offspring; None for a fifth of a generation.
    mutation_share: of a generation that are mutants; all others are crossovers.
    mutation_probability: of each gene of a mutant.
    """

    mode: Mode = "corrected"
    population: int | None = None
    parents: int | None = None
    mutation_share: float = 0.5
    mutation_probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if self.mode not in get_args(Mode):
            raise InvalidInput(f"mode is {self.mode!r}; choose one of: {', '.join(get_args(Mode))}")
        for name in ("population", "parents"):
            value = getattr(self, name)
            if value is not None and value < 2:
                raise InvalidInput(f"{name} is {value!r}; give an integer of at least 2")
        if not 0.0 <= self.mutation_share <= 1.0:
            raise InvalidInput(
                f"mutation_share is {self.mutation_share!r}; give a number from 0 to 1"
            )
        if not 0.0 < self.mutation_probability <= 1.0:
            raise InvalidInput(
                f"mutation_probability is {self.mutation_probability!r}; "
                "give a number above 0 and at most 1"
            )

    @classmethod
    def faithful(cls) -> "MetaPruningConfig":
        """Return the constants of the public code (liuzechun/MetaPruning, searching).

        It stops after 20 generations; ours stops with the effort.
        """
        return cls(
            mode="faithful",
            population=50,
            parents=10,
            mutation_share=0.5,
            mutation_probability=0.1,
        )

    def generation_size(self, problem: SearchProblem) -> int:
        """Return how many candidates a generation has."""
        if self.population is not None:
            return self.population
        candidates = problem.effort.evaluations / problem.evaluations()
        return max(round(candidates / GENERATIONS), SMALLEST_POPULATION)

    def parent_count(self, problem: SearchProblem) -> int:
        """Return how many candidates have offspring."""
        if self.parents is not None:
            return self.parents
        return max(round(self.generation_size(problem) / 5), FEWEST_PARENTS)
