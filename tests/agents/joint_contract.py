"""The searchers' contract where widths or densities, weight bits and activation bits are open."""

import pytest

from automl_compress.core import SearchProblem
from tests.contracts.searcher import Create, SearcherContract, under_latency
from tests.fakes import plain_graph, problem_of

BITS = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (4, 8)}
BUDGETS = {"size_bytes": 0.15, "bit_operations": 0.1, "micronet": 0.35}


class JointSearcherContract(SearcherContract):
    """Run on every searcher that decides bits; `create` is a fixture of the subclass.

    schemes: what is open beside bits.
    """

    trials = 11
    schemes: tuple[str, ...] = ("channel",)

    @pytest.fixture
    def problem(self) -> SearchProblem:
        return problem_of(
            plain_graph((8, 12, 8)),
            ratio=0.28,
            evaluations=16,
            seed=3,
            metric="size_bytes",
            edge_bits=None,
            schemes=self.schemes,
            **BITS,
        )

    @pytest.mark.parametrize("metric", list(BUDGETS))
    def test_every_policy_is_in_the_space_and_within_the_budget(  # type: ignore[override]
        self, create: Create, metric: str
    ) -> None:
        problem = problem_of(
            ratio=BUDGETS[metric],
            evaluations=16,
            metric=metric,  # type: ignore[arg-type]
            schemes=self.schemes,
            skip=("stage1.block0.first",),
            fix=(("stage1", 0.25),),
            **BITS,
        )
        space = problem.space

        for suggestion in self.advance(create(problem), problem, self.trials):
            setting = space.setting(suggestion.policy)
            assert suggestion.role == "probe" or space.within(setting, problem.budget)
            assert all(v in allowed for v, allowed in zip(setting, space.allowed, strict=True))

    def timed_problem(self) -> SearchProblem:
        return under_latency(problem_of(evaluations=16, schemes=self.schemes, **BITS))

    test_one_group_is_enough = None  # type: ignore[assignment]  # of widths alone
    test_grid_of_groups_is_never_left = None  # type: ignore[assignment]
    test_a_space_without_a_free_group_has_one_policy = None  # type: ignore[assignment]
