from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import kl_div

import automl_compress as library
from automl_compress.compress.apply import apply_policy
from automl_compress.compress.packing import pack, unpack
from automl_compress.compress.quantisers import QuantisedTensor
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import (
    Budget,
    Confirmation,
    Effort,
    Recipe,
    SpaceOptions,
    StudySpec,
    Trial,
    TrialState,
)
from automl_compress.core.document import PolicyDocument, RepairNote
from automl_compress.core.errors import (
    BudgetUnreachable,
    FloorMissed,
    InvalidInput,
    ModelInvalid,
    WeightsMismatch,
)
from automl_compress.costs import compression_space
from automl_compress.evaluate.confirm import Confirmer
from automl_compress.evaluate.tuned_network import count_cost
from automl_compress.export.documents import network_bytes
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


def test_the_document_says_how_both_networks_run(result: library.CompressionResult) -> None:
    document = result.policy

    told = document.execution

    assert told is not None
    assert sum(layer.macs for layer in told.before.layers) == document.before.macs
    assert sum(layer.macs for layer in told.after.layers) == document.after.macs
    assert told.after.peak_activation_bytes <= told.before.peak_activation_bytes
    assert 0 < told.after.nonzero_macs < document.after.macs
    assert PolicyDocument.from_json(document.to_json()) == document


def test_one_call_returns_a_policy_within_its_budget(
    network: Network, result: library.CompressionResult
) -> None:
    full = count_cost(network.module, (1, 8, 8))

    counted = count_cost(result.network, (1, 8, 8))

    # Scores need a graph; what the cut network's own graph gives is held in the costs' tests.
    assert counted == replace(result.policy.after, micronet=0)
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


def test_a_network_that_learns_from_the_uncut_one_answers_more_like_it(network: Network) -> None:
    data = library.load_data("digits")
    space = compression_space(network.graph, STUDY.space)
    widths = space.repair([0.5] * len(network.graph.groups), STUDY.budget)
    policy = ChannelSelector(network).explicit(space.policy(widths))
    images = torch.cat([images for images, _ in data.split("search").batches(100)])
    with torch.no_grad():
        expected = network.module(images).softmax(1)
    divergences: list[float] = []
    for weight in (0.0, 1.0):
        told = Confirmation(finetune_epochs=1, distillation_weight=weight)
        confirmer = Confirmer(network, data, replace(STUDY, confirmation=told))
        small = confirmer.compressed(policy).module
        with torch.no_grad():
            found = small(images).log_softmax(1)
        divergences.append(float(kl_div(found, expected, reduction="batchmean")))
        assert ("distillation" in confirmer.tuning) == (weight > 0)

    labels_alone, teacher_alone = divergences
    assert teacher_alone < labels_alone


def test_a_policy_that_costs_too_much_when_counted_is_not_returned(
    network: Network, result: library.CompressionResult
) -> None:
    tight = replace(STUDY, budget=Budget("macs", 0.3), confirmation=Confirmation(1, 0))
    trial = next(trial for trial in result.trials if trial.score is not None)

    with pytest.raises(ModelInvalid, match="not returned"):
        Confirmer(network, library.load_data("digits"), tight).confirm(trial)


def test_an_unreachable_budget_is_refused_with_the_smallest_reachable_cost(
    network: Network,
) -> None:
    study = replace(STUDY, budget=Budget("macs", 0.001))

    with pytest.raises(BudgetUnreachable, match="smallest policy of this space needs"):
        library.compress_network(network.module, "digits", study, has_progress_bar=False)


def test_finalists_are_each_policy_once_and_the_earliest_first(
    network: Network, result: library.CompressionResult
) -> None:
    study = replace(STUDY, confirmation=Confirmation(top_k=10))
    confirmer = Confirmer(network, library.load_data("digits"), study)
    best = confirmer.finalists(result.trials)[0]
    again = replace(best, number=99)
    failed = Trial(100, best.policy, TrialState.FAILED, failure="no")

    assert confirmer.finalists([again, failed, best]) == [best]


def test_with_an_accuracy_floor_the_finalists_are_the_cheapest_that_reach_it(
    network: Network, result: library.CompressionResult
) -> None:
    measured = [each for each in result.trials if each.score is not None and each.measurement]
    floor = sorted(each.score or 0.0 for each in measured)[1]
    study = replace(STUDY, accuracy_floor=floor, confirmation=Confirmation(top_k=4))
    confirmer = Confirmer(network, library.load_data("digits"), study)

    found = confirmer.finalists(result.trials)

    costs = [each.measurement.cost.macs for each in found[:-1] if each.measurement is not None]
    assert (found[-1].score or 0.0) < floor  # tuning may lift it
    assert costs == sorted(costs)
    assert all((each.score or 0.0) >= floor for each in found[:-1])


@pytest.mark.slow
def test_a_search_for_least_cost_hands_out_the_cheapest_tuned_network_above_its_floor(
    network: Network,
) -> None:
    study = replace(
        STUDY,
        searcher="amc",
        budget=Budget("macs", 1.0),
        effort=Effort(6),
        accuracy_floor=0.9,
        confirmation=Confirmation(finetune_epochs=0),
        searcher_options={"hidden": [16, 16], "profile_share": 0.0, "warmup_evaluations": 6},
    )

    result = library.compress_network(network.module, "digits", study, has_progress_bar=False)

    best = result.summary.require_best().measurement
    assert best is not None
    reaching = [
        each.measurement.cost.macs
        for each in result.trials
        if each.measurement is not None and each.measurement.accuracy >= 0.9
    ]
    assert best.cost.macs == min(reaching) < result.policy.before.macs
    unreachable = replace(study, accuracy_floor=1.0, effort=Effort(1))
    with pytest.raises(FloorMissed, match="the most accurate, trial 0"):
        library.compress_network(network.module, "digits", unreachable, has_progress_bar=False)


@pytest.mark.parametrize("searcher", ["eagleeye", "metapruning"])
def test_a_searcher_is_no_other_method_under_its_name(network: Network, searcher: str) -> None:
    study = replace(STUDY, searcher=searcher)

    with pytest.raises(InvalidInput, match=rf"the method of searcher '{searcher}' is .*: set rec"):
        library.compress_network(network.module, "digits", study, has_progress_bar=False)


def test_each_of_several_budgets_has_its_finalist_within_it(network: Network) -> None:
    study = replace(
        STUDY, smaller_ratios=(0.3, 0.15), effort=Effort(9), confirmation=Confirmation(1, 0)
    )

    result = library.compress_network(network.module, "digits", study, has_progress_bar=False)

    full = count_cost(network.module, (1, 8, 8))
    kept = sorted(count_cost(each.network, (1, 8, 8)).macs for each in result.confirmed)
    limits = [budget.limit(full) for budget in reversed(study.budgets)]
    assert all(macs <= limit for macs, limit in zip(kept, limits, strict=True))
    finalists = Confirmer(network, library.load_data("digits"), study).finalists(result.trials)
    for budget, trial in zip(study.budgets, finalists, strict=True):
        assert not any(
            other.score > trial.score  # type: ignore[operator]
            for other in result.trials
            if other.score is not None
            and other.measurement is not None
            and budget.allows(other.measurement.cost, full)
        )


QUANTISED = replace(
    STUDY,
    budget=Budget("size_bytes", 0.08),
    space=SpaceOptions(
        schemes=("channel", "element"), weight_bits=(2, 3, 4, 8), activation_bits=(3, 4, 8)
    ),
    confirmation=Confirmation(finetune_epochs=2),
)


@pytest.fixture(scope="module")
def quantised(network: Network) -> library.CompressionResult:
    return library.compress_network(network.module, "digits", QUANTISED, has_progress_bar=False)


def test_a_quantised_network_is_as_small_as_its_file(
    network: Network, quantised: library.CompressionResult
) -> None:
    assert quantised.packed is not None
    assert quantised.policy.after.size_bytes == len(quantised.packed)
    full = sum(each.numel() * each.element_size() for each in network.module.state_dict().values())
    assert len(quantised.packed) <= 0.08 * full
    best = quantised.summary.best
    assert best is not None
    assert best.measurement is not None
    # What the search counted with is an upper bound, and not a wild one.
    assert 0.5 < len(quantised.packed) / best.measurement.cost.size_bytes <= 1.0


def test_tuning_a_quantised_network_regains_accuracy(
    network: Network, quantised: library.CompressionResult
) -> None:
    tuned, _, searched = (row.value for row in quantised.policy.metrics)

    assert tuned > searched + 0.1  # 2 epochs on a network of few bits
    assert tuned > 0.6


def test_document_and_weights_give_the_quantised_network_bit_for_bit(
    network: Network, quantised: library.CompressionResult, tmp_path: Path
) -> None:
    (tmp_path / "network.safetensors").write_bytes(network_bytes(quantised.network))
    quantised.policy.save(tmp_path / "policy.json")
    images = torch.randn(16, 1, 8, 8)

    again = apply_policy(network.module, tmp_path / "policy.json", tmp_path / "network.safetensors")

    with torch.no_grad():
        assert torch.equal(again(images), quantised.network(images))
    assert PolicyDocument.load(tmp_path / "policy.json").policy == quantised.policy.policy
    bits = {choice.weight_bits for choice in quantised.policy.policy.layers}
    assert bits <= {2, 3, 4, 8}


def test_document_and_packed_file_give_the_quantised_network_bit_for_bit(
    network: Network, quantised: library.CompressionResult, tmp_path: Path
) -> None:
    assert quantised.packed is not None
    (tmp_path / "network.amlc").write_bytes(quantised.packed)
    images = torch.randn(16, 1, 8, 8)

    again = apply_policy(network.module, quantised.policy, tmp_path / "network.amlc")

    with torch.no_grad():
        assert torch.equal(again(images), quantised.network(images))


def test_a_document_of_one_scale_for_each_layer_gives_its_network_bit_for_bit(
    network: Network, tmp_path: Path
) -> None:
    study = replace(
        STUDY,
        budget=Budget("size_bytes", 0.1),
        recipe=Recipe(images=100, calibration_images=64, repair="none"),
        space=replace(QUANTISED.space, weight_scales="tensor"),
        confirmation=Confirmation(finetune_epochs=0),
    )
    result = library.compress_network(network.module, "digits", study, has_progress_bar=False)
    assert result.packed is not None
    (tmp_path / "network.amlc").write_bytes(result.packed)
    result.policy.save(tmp_path / "policy.json")
    images = torch.randn(16, 1, 8, 8)

    document = PolicyDocument.load(tmp_path / "policy.json")
    again = [
        apply_policy(network.module, document),
        apply_policy(network.module, document, tmp_path / "network.amlc"),
    ]

    assert {choice.weight_scales for choice in document.policy.layers} == {"tensor"}
    with torch.no_grad():
        expected = result.network(images)
        assert all(torch.equal(each(images), expected) for each in again)
    grids = [t.grid for t in unpack(result.packed).tensors.values() if hasattr(t, "grid")]
    assert grids
    assert all(grid.axis is None and len(grid.values) == 1 for grid in grids)


def test_learned_scales_are_those_of_the_network_that_is_handed_out(
    network: Network,
) -> None:
    data, space = library.load_data("digits"), compression_space(network.graph, QUANTISED.space)
    policy = ChannelSelector(network).explicit(space.policy(space.uniform(QUANTISED.budget)))
    found = {}
    for scales in ("fitted", "learned"):
        told = Confirmation(finetune_epochs=1, finetune_scales=scales)
        confirmer = Confirmer(network, data, replace(QUANTISED, confirmation=told))
        found[scales] = confirmer.compressed(policy)
        assert confirmer.tuning.get("scales", "fitted") == scales

    fitted, learned = found["fitted"].quantisation, found["learned"].quantisation
    rounded = [name for name, row in fitted.items() if row.input_scale is not None]
    assert rounded
    assert all(fitted[name].input_scale != learned[name].input_scale for name in rounded)
    packed = found["learned"].packed
    assert packed is not None
    state = found["learned"].module.state_dict()
    for name, tensor in unpack(packed).state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_a_damaged_packed_file_is_refused(
    network: Network, quantised: library.CompressionResult, tmp_path: Path
) -> None:
    assert quantised.packed is not None
    (tmp_path / "network.amlc").write_bytes(quantised.packed[:-3] + b"abc")

    with pytest.raises(WeightsMismatch, match="SHA-256"):
        apply_policy(network.module, quantised.policy, tmp_path / "network.amlc")


def test_a_packed_file_of_another_policy_of_the_same_shapes_is_refused(
    network: Network, quantised: library.CompressionResult, tmp_path: Path
) -> None:
    assert quantised.packed is not None
    tensors = unpack(quantised.packed).tensors
    other = {
        name: replace(each, codes=each.codes.flip(0)) if isinstance(each, QuantisedTensor) else each
        for name, each in tensors.items()
    }
    path = tmp_path / "network.amlc"
    path.write_bytes(pack(other))
    sound = pack(tensors)
    without = replace(quantised.policy, repair=RepairNote("fine-tuned", f"sha256:{'0' * 64}"))

    with pytest.raises(WeightsMismatch, match="fetch the file that belongs to it"):
        apply_policy(network.module, quantised.policy, path)
    with pytest.raises(WeightsMismatch, match="of which the policy has none"):
        apply_policy(network.module, without, path)
    path.write_bytes(sound)  # what is packed alike is the same file
    apply_policy(network.module, quantised.policy, path)
