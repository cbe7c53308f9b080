"""Where networks are computed: the processor, or the GPU that torch can use."""

import copy

import torch
from torch import nn

PROCESSOR = torch.device("cpu")


def gpu() -> torch.device | None:
    """Return the first GPU that torch can use; None where there is none.

    `CUDA_VISIBLE_DEVICES` says which of several that is, and hides all of them where it is empty.
    """
    return torch.device("cuda") if torch.cuda.is_available() else None


def gpu_name() -> str | None:
    """Return what the driver calls that GPU; None where there is none."""
    return None if gpu() is None else torch.cuda.get_device_name(gpu())


def fastest() -> torch.device:
    """Return where training is fastest: the GPU, or the processor of a machine without."""
    return gpu() or PROCESSOR


def copied_to(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a module on a device; on the processor the module itself."""
    return module if device == PROCESSOR else copy.deepcopy(module).to(device)
