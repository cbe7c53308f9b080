"""Pruning in rounds, and codebooks that are trained."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from automl_compress.compress.quantisers import QuantisedTensor, create_quantiser
from automl_compress.core.errors import InvalidInput, PolicyInvalid
from automl_compress.train.config import TrainingConfig
from automl_compress.train.progress import TrainingProgress
from automl_compress.train.pruning import prune_and_retrain
from automl_compress.train.shared_weights import train_shared
from automl_compress.train.training import train
from tests.automl_compress.train.test_training import made_data, made_network

CONFIG = TrainingConfig(epochs=1, batch_size=16, learning_rate=0.05)
# One step on all images, without anything but the gradient.
STEP = TrainingConfig(
    epochs=1,
    batch_size=96,
    learning_rate=0.01,
    schedule="linear",
    momentum=0.0,
    nesterov=False,
    weight_decay=0.0,
)


def zeros(module: nn.Module, name: str) -> torch.Tensor:
    weight: torch.Tensor = getattr(module.get_submodule(name), "weight")  # noqa: B009
    return (weight == 0).reshape(-1)


def test_rounds_remove_alike_shares_and_what_is_gone_stays_gone() -> None:
    module, seen = made_network(), []

    def note(progress: TrainingProgress) -> None:
        if progress.batch == progress.batches:
            seen.append(zeros(module, "6"))

    reports = prune_and_retrain(
        module, {"6": 0.9, "0": 0.5}, made_data(), CONFIG, rounds=3, progress=note
    )

    assert len(reports) == 3
    # 128 weights, of which 10 % stay in the end: 46 %, 22 %, 10 %.
    assert [int(each.sum()) for each in seen] == [69, 100, 115]
    assert bool((seen[0] <= seen[1]).all() and (seen[1] <= seen[2]).all())
    assert int(zeros(module, "6").sum()) == 115
    assert int(zeros(module, "0").sum()) == 18
    assert not bool(zeros(module, "3").any())
    assert not bool(
        torch.signbit(module.get_parameter("6.weight")[module.get_parameter("6.weight") == 0]).any()
    )
    assert not module.training


def test_layers_that_are_not_there_and_no_rounds_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'9'"):
        prune_and_retrain(made_network(), {"9": 0.5}, made_data(), CONFIG)
    with pytest.raises(InvalidInput, match="rounds is 0"):
        prune_and_retrain(made_network(), {"6": 0.5}, made_data(), CONFIG, rounds=0)
    with pytest.raises(PolicyInvalid, match="sparsity"):
        prune_and_retrain(made_network(), {"6": 1.0}, made_data(), CONFIG)


def shared_network(axis: int | None) -> tuple[nn.Module, dict[str, QuantisedTensor]]:
    """Layers 0 and 6 have codebooks; a third of the latter's weights are zero."""
    module = made_network().eval()
    module.get_submodule("4").p = 0.0  # type: ignore[assignment]
    weight = module.get_parameter("6.weight")
    with torch.no_grad():
        weight[weight.abs() < 0.04] = 0.0
    kmeans = create_quantiser("kmeans")
    return module, {
        name: kmeans.fit(module.get_parameter(f"{name}.weight").detach(), 2, axis)
        for name in ("0", "6")
    }


@pytest.mark.parametrize("axis", [None, 0])
def test_an_entry_moves_by_the_sum_of_its_weights_gradients(axis: int | None) -> None:
    module, shared = shared_network(axis)
    twin, _ = shared_network(axis)
    for name, tensor in shared.items():
        twin.get_parameter(f"{name}.weight").data.copy_(tensor.dequantise())
    start = {name: tensor.dequantise() for name, tensor in shared.items()}

    trained = train_shared(module, shared, made_data(), STEP)
    train(twin, made_data(), STEP)  # the same step, each weight for itself

    for name, tensor in shared.items():
        moved = twin.get_parameter(f"{name}.weight").detach() - start[name]
        values, codes = tensor.grid.values, tensor.codes.long()
        rows = [(values[0], codes, moved, trained[name].dequantise())]
        if axis == 0:
            after = trained[name].dequantise()
            rows = [*zip(values, codes, moved, after, strict=True)]
        for codebook, places, steps, now in rows:
            for entry in range(4):
                is_its = places == entry
                if not bool(is_its.any()):
                    continue
                wanted = codebook[entry] + steps[is_its].sum() * (codebook[entry] != 0)
                assert now[is_its] == pytest.approx(float(wanted), abs=1e-6)


def test_shared_weights_stay_shared_zero_and_ascending() -> None:
    module, shared = shared_network(None)

    trained = train_shared(module, shared, made_data(), replace(CONFIG, learning_rate=0.2))

    for name, tensor in trained.items():
        weight = module.get_parameter(f"{name}.weight")
        assert torch.equal(weight.detach(), tensor.dequantise())
        assert weight.requires_grad
        assert not torch.equal(tensor.grid.values, shared[name].grid.values)
        assert bool((tensor.grid.values.diff() >= 0).all())
    was_zero = shared["6"].dequantise() == 0
    assert bool(was_zero.any())
    assert torch.equal(trained["6"].dequantise() == 0, was_zero)


def test_what_has_no_codebook_is_refused() -> None:
    module, shared = shared_network(None)
    grid = create_quantiser("uniform").fit(module.get_parameter("6.weight").detach(), 4)

    with pytest.raises(InvalidInput, match="linear grid"):
        train_shared(module, {"6": grid}, made_data(), CONFIG)
    with pytest.raises(InvalidInput, match="'3'"):
        train_shared(module, {"3": shared["6"]}, made_data(), CONFIG)
    assert isinstance(module.get_submodule("6").weight, nn.Parameter)
