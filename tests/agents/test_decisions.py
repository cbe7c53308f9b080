import pytest

from automl_agents.catalogue import check_serves, create_searcher
from automl_agents.decisions import open_decisions, worded
from automl_compress.core import Metric
from automl_compress.core.errors import InvalidInput
from tests.fakes import plain_graph, problem_of, residual_graph, space_of


@pytest.mark.parametrize(
    ("metric", "kinds"),
    [
        ("macs", {"width"}),
        ("parameters", {"width"}),
        ("size_bytes", {"width", "density", "weight_bits"}),
        ("bit_operations", {"width", "density", "weight_bits", "activation_bits"}),
    ],
)
def test_what_a_budget_does_not_count_is_not_varied(metric: Metric, kinds: set[str]) -> None:
    space = space_of(
        residual_graph(),
        schemes=("channel", "element"),
        weight_bits=(2, 4, 8),
        activation_bits=(4, 8),
        skip=("stem",),
    )

    places = open_decisions(space, metric)

    assert {space.decisions[place].kind for place in places} == kinds
    assert all(len(space.allowed[place]) > 1 for place in places)
    open_targets = {space.decisions[place].target for place in places}
    assert "stem" not in open_targets  # its width and its layer
    assert "stage1" in open_targets


def test_values_are_worded() -> None:
    space = space_of(
        plain_graph((8,)), schemes=("channel", "element"), weight_bits=(2,), activation_bits=(4,)
    )
    first = {each.kind: each for each in reversed(space.decisions)}

    assert worded(first["width"], 3) == "3 of 8 channels"
    assert worded(first["density"], 40) == "40 % of its weights"
    assert worded(first["weight_bits"], 2) == "2-bit weights"
    assert worded(first["activation_bits"], 4) == "4-bit inputs"


@pytest.mark.parametrize("name", ["tec", "global"])
@pytest.mark.parametrize(
    ("options", "opened"),
    [
        ({"weight_bits": (2, 4)}, "weight_bits"),
        ({"schemes": ("element",)}, "schemes 'element'"),
        ({"weight_bits": (4,), "activation_bits": (8,)}, "weight_bits, activation_bits"),
    ],
)
def test_searchers_of_channels_refuse_decisions_on_layers(
    name: str, options: dict[str, object], opened: str
) -> None:
    problem = problem_of(metric="size_bytes", evaluations=60, **options)

    for attempt in (check_serves, create_searcher):
        with pytest.raises(InvalidInput, match=f"channels alone, and this search opens {opened}"):
            attempt(name, problem, {})
        with pytest.raises(InvalidInput, match="choose one that can: auto, uniform, random"):
            attempt(name, problem, {})
    with pytest.raises(InvalidInput, match="channels alone"):
        check_serves("portfolio", problem, {"members": ["auto", name]})
