from dataclasses import replace

import pytest
import torch

import automl_compress as library
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    Recipe,
    StudySpec,
    Trial,
    TrialState,
)
from automl_compress.core.errors import BudgetUnreachable, ModelInvalid
from automl_compress.evaluate.confirm import Confirmer, best_trials, count_cost
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.trace import Network, trace
from automl_compress.train.demo import DEMO_ARCHITECTURE, DEMO_CONFIG, DEMO_WEIGHTS

STUDY = StudySpec(
    "random",
    Budget("macs", 0.5),
    Effort(4),
    recipe=Recipe(images=100, calibration_images=64),
    confirmation=Confirmation(top_k=2, finetune_epochs=1),
)


@pytest.fixture(scope="module")
def network() -> Network:
    module = build_network(DEMO_ARCHITECTURE, DEMO_CONFIG)
    load_weights(module, DEMO_WEIGHTS)
    return trace(module, (1, 8, 8))


@pytest.fixture(scope="module")
def result(network: Network) -> library.CompressionResult:
    return library.compress_network(network.module, "digits", STUDY, has_progress_bar=False)


def test_one_call_returns_a_policy_within_its_budget(
    network: Network, result: library.CompressionResult
) -> None:
    full = count_cost(network.module, (1, 8, 8))

    counted = count_cost(result.network, (1, 8, 8))

    assert counted == result.policy.after
    assert STUDY.budget.allows(counted, full)
    assert len(result.trials) == 4


def test_the_confirmed_figure_is_measured_on_the_test_split(
    result: library.CompressionResult,
) -> None:
    rows = result.policy.metrics

    assert rows[0].split.startswith("test")
    assert rows[0].fidelity == "confirmed"
    assert rows[0].total == 400
    assert [row.split.startswith("test") for row in rows[1:]] == [False, False]
    assert result.policy.baseline[0].split == rows[0].split


def test_the_given_network_stays_as_it_was(network: Network) -> None:
    fresh = build_network(DEMO_ARCHITECTURE, DEMO_CONFIG)
    load_weights(fresh, DEMO_WEIGHTS)

    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, network.module.state_dict()[name]), name


def test_without_tuning_the_uncut_network_is_scored_as_it_is(network: Network) -> None:
    data = library.load_data("digits")
    study = replace(STUDY, confirmation=Confirmation(finetune_epochs=0))

    assert Confirmer(network, data, study).baseline().correct >= 0.97 * 400


def test_a_policy_that_costs_too_much_when_counted_is_not_returned(
    network: Network, result: library.CompressionResult
) -> None:
    tight = replace(STUDY, budget=Budget("macs", 0.3), confirmation=Confirmation(1, 0))
    trial = best_trials(result.trials, 1)[0]

    with pytest.raises(ModelInvalid, match="not returned"):
        Confirmer(network, library.load_data("digits"), tight).confirm(trial)


def test_an_unreachable_budget_is_refused_with_the_smallest_reachable_cost(
    network: Network,
) -> None:
    study = replace(STUDY, budget=Budget("macs", 0.001))

    with pytest.raises(BudgetUnreachable, match="smallest policy of this space needs"):
        library.compress_network(network.module, "digits", study, has_progress_bar=False)


def test_best_trials_lists_each_policy_once_and_the_earliest_first(
    result: library.CompressionResult,
) -> None:
    best = best_trials(result.trials, 10)[0]
    again = replace(best, number=99)
    failed = Trial(100, best.policy, TrialState.FAILED, failure="no")

    assert best_trials([again, failed, best], 10) == [best]
