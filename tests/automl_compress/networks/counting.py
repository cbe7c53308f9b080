"""Independent counts and random cuts: what the library's own are held against."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from automl_compress.core import Cost
from automl_compress.networks.coupling import NORMS
from automl_compress.networks.plan import ChannelPlan


def settled(module: nn.Module, input_shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """Give the norms statistics of the network's own activations, and scales that differ."""
    generator = torch.Generator().manual_seed(seed)
    norms = [member for member in module.modules() if isinstance(member, NORMS)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 0.5
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.uniform_(-0.3, 0.3, generator=generator)
        module.train()
        for _ in range(3 if norms else 0):
            module(torch.randn(8, *input_shape, generator=generator))
    return module.eval()


def random_kept(plan: ChannelPlan, rng: np.random.Generator) -> list[Tensor]:
    """Draw how many and which channels each group keeps; some groups stay whole."""
    kept: list[Tensor] = []
    for channels in plan.channels:
        count = channels if rng.random() < 0.1 else int(rng.integers(1, channels + 1))
        chosen = np.sort(rng.choice(channels, count, replace=False))
        kept.append(torch.from_numpy(chosen))
    return kept


def counted_cost(module: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Count by torch's own counter and by the stored tensors; no MicroNet score."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *input_shape))
    stored = module.state_dict().values()
    return Cost(
        macs=counter.get_total_flops() // 2,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in stored),
        bit_operations=counter.get_total_flops() // 2 * 32 * 32,
    )


def without_score(cost: Cost) -> Cost:
    """Return what `counted_cost` counts; scores have tests of their own."""
    return replace(cost, micronet=0)


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference in units of the largest expected value."""
    assert bool(torch.isfinite(expected).all())
    return float(((found - expected).abs().max() / expected.abs().max()).detach())
