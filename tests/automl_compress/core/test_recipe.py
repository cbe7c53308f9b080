import json
from typing import Any

import pytest

from automl_compress.core import PruningNetConfig, Recipe
from automl_compress.core.errors import InvalidInput

GENERATED: dict[str, Any] = {"weights": "pruning_net", "repair": "recalibration"}


def test_a_recipe_survives_json() -> None:
    for recipe in (Recipe(), Recipe(**GENERATED, pruning_net=PruningNetConfig(rank=8))):
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_generated_weights_come_with_their_training() -> None:
    assert Recipe(**GENERATED).pruning_net == PruningNetConfig()
    assert Recipe().pruning_net is None


@pytest.mark.parametrize(
    ("images", "epochs"),
    [
        (50_000, 4),  # 391 steps each: 3.07 epochs
        (12_800, 12),
        (1_000, 30),  # 8 steps each; 150 epochs would be needed
        (500_000, 3),
    ],
)
def test_epochs_left_open_make_some_steps(images: int, epochs: int) -> None:
    assert PruningNetConfig(batch_size=128).epochs_over(images) == epochs
    assert PruningNetConfig(epochs=2).epochs_over(images) == 2


def test_fields_left_open_have_the_defaults_of_the_mode() -> None:
    told = {**GENERATED, "pruning_net": {"mode": "faithful", "epochs": 3}}

    config = Recipe.from_json(told).pruning_net

    assert config is not None
    assert (config.epochs, config.rank, config.starts_from) == (3, 32, "random")


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"weights": "borrowed"}, "choose one of: inherited, pruning_net"),
        ({"weights": "pruning_net"}, "choose recalibration, distillation, or none"),
        ({"pruning_net": {}}, "set weights to 'pruning_net'"),
        ({**GENERATED, "pruning_net": {"depth": 3}}, "has no field depth; it has: mode, rank"),
        ({**GENERATED, "pruning_net": {"rank": 33}}, "from 0 to 32"),
        ({**GENERATED, "pruning_net": {"rank": -1}}, "0 or more"),
        ({**GENERATED, "pruning_net": {"epochs": "3"}}, "epochs is '3'; give a whole number"),
        ({**GENERATED, "pruning_net": {"epochs": True}}, "epochs is True"),
        ({**GENERATED, "pruning_net": {"images": 1}}, "2 or more"),
        ({**GENERATED, "pruning_net": {"learning_rate": float("nan")}}, "give a number"),
        ({**GENERATED, "pruning_net": {"label_smoothing": 1.0}}, "below 1"),
        ({**GENERATED, "pruning_net": {"schedule": "steps"}}, "one-cycle, cosine, linear"),
        ({**GENERATED, "pruning_net": {"sampling": "two"}}, "sandwich, single"),
        ({**GENERATED, "pruning_net": {"mode": ["faithful"]}}, "corrected, faithful"),
    ],
)
def test_bad_recipes_are_refused(recipe: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Recipe.from_json(recipe)
