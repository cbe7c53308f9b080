"""Batch-norm recalibration."""

import pytest
import torch
from torch import Tensor, nn

from automl_compress.compress.recalibration import recalibrate
from automl_compress.core.errors import InvalidInput
from tests.automl_compress.networks import topologies
from tests.automl_compress.networks.counting import settled

IMAGE = (3, 8, 8)


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (torch.randn(size, *IMAGE, generator=generator), torch.zeros(size, dtype=torch.int64))
        for size in sizes
    ]


def test_statistics_are_the_mean_over_the_batches() -> None:
    module = settled(topologies.Classifier(topologies.Residual("projection"), 12), IMAGE)
    seen: dict[str, list[Tensor]] = {}
    norms = {n: m for n, m in module.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for name, norm in norms.items():
        norm.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0].clone())
        )

    recalibrate(module, iter(batches(16, 16, 7)))

    for name, norm in norms.items():
        means = torch.stack([each.mean((0, 2, 3)) for each in seen[name]])
        variances = torch.stack([each.var((0, 2, 3)) for each in seen[name]])
        torch.testing.assert_close(norm.running_mean, means.mean(0))
        torch.testing.assert_close(norm.running_var, variances.mean(0))


def test_everything_else_stays_as_it_was() -> None:
    module = settled(topologies.grouped(2), IMAGE)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    momenta = [m.momentum for m in module.modules() if isinstance(m, nn.BatchNorm2d)]

    recalibrate(module, batches(8))

    found = module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], found[name])}
    assert {name.rpartition(".")[2] for name in changed} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert [m.momentum for m in module.modules() if isinstance(m, nn.BatchNorm2d)] == momenta
    assert not any(member.training for member in module.modules())


def test_no_batch_is_refused_and_changes_nothing() -> None:
    module = settled(topologies.grouped(2), IMAGE)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    with pytest.raises(InvalidInput, match="at least one batch"):
        recalibrate(module, [])

    found = module.state_dict()
    assert all(torch.equal(before[name], found[name]) for name in before)
