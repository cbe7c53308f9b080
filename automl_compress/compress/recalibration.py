"""Batch-norm recalibration: statistics of the cut network's own activations."""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput
from automl_compress.networks.coupling import NORMS


def recalibrate(module: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Replace running means and variances by the average over these batches, in place.

    Every batch counts alike (cumulative average, `momentum=None`): with a running average the
    first statistics would keep a weight of (1 - momentum)^batches. (EagleEye, Li et al., ECCV
    2020, section 3.3, where it is called adaptive batch normalisation.)

    Args:
        module: in evaluation mode; runs on the device that it is on.
        batches: labelled images, (B, ...) each, on any device.

    Raises:
        InvalidInput: there was no batch; the module stays as it was.
    """
    remaining = iter(batches)
    first = next(remaining, None)
    if first is None:
        raise InvalidInput("recalibration got no calibration images; give at least one batch")
    norms = [member for member in module.modules() if isinstance(member, NORMS)]
    momenta = [member.momentum for member in norms]
    device = next((each.device for each in module.parameters()), first[0].device)
    for member in norms:
        member.reset_running_stats()
        member.momentum = None
        member.train()
    try:
        with torch.no_grad():
            for images, _ in chain([first], remaining):
                module(images.to(device))
    finally:
        for member, momentum in zip(norms, momenta, strict=True):
            member.momentum = momentum
            member.eval()
