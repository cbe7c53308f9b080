"""Searchers on spaces that decide on single layers: bits, densities, alone or beside widths."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from automl_agents.catalogue import create_searcher
from automl_compress.core import Metric, Searcher, SearchProblem
from tests.contracts.searcher import Create, SearcherContract
from tests.fakes import plain_graph

#: Those of the catalogue that take such a space, besides agents of reinforcement learning;
#: `eagleeye` is `random` under another recipe.
NAMES = (
    "uniform",
    "random",
    "sensitivity",
    "micronet",
    "dp",
    "greedy",
    "auto",
    "metapruning",
    "tpe",
    "nsga2",
    "cmaes",
    "gp",
    "portfolio",
)
OPTIONS: Mapping[str, Mapping[str, object]] = {"portfolio": {"members": ["auto", "tpe", "dp"]}}


def created(name: str, problem: SearchProblem, **options: object) -> Searcher:
    return create_searcher(name, problem, {**OPTIONS.get(name, {}), **options})


class OnLayers(SearcherContract):
    trials = 10

    @pytest.fixture(params=NAMES)
    def create(self, request: pytest.FixtureRequest) -> Create:
        return lambda problem: created(request.param, problem)

    @pytest.fixture
    def problem(self) -> SearchProblem:
        return self.problem_of(plain_graph((16, 24, 24, 16)), evaluations=20, seed=3)


class TestBitsBesideWidths(OnLayers):
    options: ClassVar[Mapping[str, Any]] = {
        "weight_bits": (2, 3, 4, 6, 8),
        "activation_bits": (4, 8),
    }
    budgets: ClassVar[Mapping[Metric, float]] = {
        "size_bytes": 0.2,
        "bit_operations": 0.06,
        "micronet": 0.35,
    }


class TestBitsAndDensitiesWithoutWidths(OnLayers):
    options: ClassVar[Mapping[str, Any]] = {
        "schemes": ("element",),
        "weight_bits": (2, 4, 8),
        "density_step": 25,
    }
    budgets: ClassVar[Mapping[Metric, float]] = {
        "size_bytes": 0.2,
        "bit_operations": 0.2,
        "micronet": 0.4,
    }
