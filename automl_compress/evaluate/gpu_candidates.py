"""Candidates that a GPU runs, as modules: the program's operators are the processor's own."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from automl_compress.core import LayerChoice
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.candidates import BoundModule, ModuleCandidates
from automl_compress.networks import devices


class GpuCandidates:
    """Cuts candidates on the processor and sends them to the GPU; images go there once."""

    def __init__(self, modules: ModuleCandidates, device: torch.device) -> None:
        """Prepare.

        Args:
            modules: cuts candidates.
            device: a GPU.
        """
        self._modules, self._images = modules, _ImagesThere(device)

    def of(self, candidate: Candidate) -> "GpuForward":
        """Return the forward pass of a candidate."""
        return GpuForward(self._modules.of(candidate), self._images)

    def of_module(self, module: nn.Module, layers: Mapping[str, LayerChoice]) -> "GpuForward":
        """Return the forward pass of a cut float module whose layers then become these."""
        return GpuForward(self._modules.of_module(module, layers), self._images)


class GpuForward:
    """The forward pass of one candidate; takes images from the processor, gives logits to it."""

    def __init__(self, cut: BoundModule, images: "_ImagesThere") -> None:
        """Copy the module, which may be the caller's own where nothing was cut."""
        self._images = images
        self._there = BoundModule(devices.copied_to(cut.module, images.device))

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, ...)."""
        return self._there(images.to(self._images.device)).cpu()

    def logits(self, batches: Sequence[Tensor]) -> Tensor:
        """Return the logits of all batches, in order."""
        return self._there.logits(self._images.of(batches)).cpu()


class _ImagesThere:
    """Copies of lists of batches on a GPU, each made once.

    Lists are known by identity: an evaluator keeps those that it sends, whole and in part.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._lists: dict[int, tuple[Sequence[Tensor], Sequence[Tensor]]] = {}

    def of(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        if id(batches) not in self._lists:
            # With its source, whose number no other list can have as long as it lives.
            there = [each.to(self.device) for each in batches]
            self._lists[id(batches)] = batches, there
        return self._lists[id(batches)][1]
