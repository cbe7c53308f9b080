"""The knobs of TEC; loads nothing heavy."""

from dataclasses import dataclass

from automl_agents.decisions import refusal_of_layers
from automl_compress.core import Effort, SearchProblem
from automl_compress.core.errors import InvalidInput

POPULATION_SHARE = 0.05  # of the effort
SMALLEST_POPULATION, LARGEST_POPULATION = 4, 32
EVALUATIONS_FOR_EACH_PLACE = 2  # at the least: one to fill the population, one to improve it


@dataclass(frozen=True, slots=True)
class TecConfig:
    """Everything that TEC is not told by the problem.

    population: how many masks are kept; None for a twentieth of the effort, from 4 to 32.
    crossover_rate: share of the children that take a segment of a second parent; the others
        are mutated. The published 7 : 1, without the copies, which would be measured twice.
    mutation_share: the longest segment of bits that a mutation flips, as a share of all.
    ranking_share: from 0 to 1, how much the ranking of the channels decides which bits are
        cleared or set where a mask is repaired; chance decides the rest.
    max_filters: larger networks are refused.
    max_filters_for_each_evaluation: efforts of fewer evaluations for the network's filters are
        refused too.
    """

    population: int | None = None
    crossover_rate: float = 0.875
    mutation_share: float = 0.05
    ranking_share: float = 0.5
    max_filters: int = 16_384
    max_filters_for_each_evaluation: int = 256

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name in ("crossover_rate", "mutation_share", "ranking_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; give a number from 0 to 1")
        if self.population is not None and self.population < 2:
            raise InvalidInput(f"population is {self.population!r}; give an integer of at least 2")
        for name in ("max_filters", "max_filters_for_each_evaluation"):
            if getattr(self, name) < 1:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)!r}; give an integer of at least 1"
                )

    def size(self, effort: Effort) -> int:
        """Return how many masks are kept."""
        wanted = round(POPULATION_SHARE * effort.evaluations)
        return self.population or min(max(wanted, SMALLEST_POPULATION), LARGEST_POPULATION)

    def refuses(self, problem: SearchProblem) -> str | None:
        """Say why a mask search cannot serve this; None where it can."""
        space, evaluations = problem.space, problem.effort.evaluations
        refused = refusal_of_layers(space)
        if refused is not None:
            return refused
        filters = sum(
            group.channels
            for group, allowed in zip(space.graph.groups, space.allowed, strict=True)
            if len(allowed) > 1
        )
        if filters > self.max_filters:
            return (
                f"{filters:,} filters can be cut, and its option max_filters is "
                f"{self.max_filters:,}; skip or fix groups"
            )
        least = max(
            EVALUATIONS_FOR_EACH_PLACE * self.size(problem.effort),
            filters / self.max_filters_for_each_evaluation,
        )
        if evaluations < least:
            return (
                f"the effort is {evaluations:g} evaluations, too few for {filters:,} filters and "
                f"a population of {self.size(problem.effort)}; give {least:.0f} at least"
            )
        return None
