"""Two ways to run a candidate: the shared program, or the cut module itself."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.reconstruction import Reconstruction
from automl_compress.evaluate.bank import ParameterBank
from automl_compress.evaluate.program import Program, compile_program
from automl_compress.evaluate.segments import PrefixCache
from automl_compress.networks.surgery import tensors_of
from automl_compress.networks.trace import Network

logger = logging.getLogger(__name__)
AGREEMENT = 1e-3  # of the largest logit, between program and module


class Forward(Protocol):
    """The forward pass of one candidate."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, ...)."""
        ...

    def logits(self, batches: Sequence[Tensor]) -> Tensor:
        """Return the logits of all batches, in order."""
        ...


@dataclass(frozen=True)
class BoundProgram:
    """The program with one candidate's tensors.

    kept: channels of each group; None where the tensors say more than the channels do.
    """

    program: Program
    tensors: Sequence[Tensor]
    prefixes: PrefixCache
    kept: Sequence[Tensor] | None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, ...)."""
        return self.program(images, self.tensors)

    def logits(self, batches: Sequence[Tensor]) -> Tensor:
        """Run from behind a prefix that did not change, where one is known."""
        if self.kept is None:
            return torch.cat([self(images) for images in batches])
        return self.prefixes.logits(self.kept, self.tensors, batches)


@dataclass(frozen=True)
class BoundModule:
    """A cut module."""

    module: nn.Module

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, ...)."""
        return self.module(images)

    def logits(self, batches: Sequence[Tensor]) -> Tensor:
        """Run batch by batch."""
        return torch.cat([self.module(images) for images in batches])


class Candidates(Protocol):
    """Makes the forward pass of a cut network."""

    def cut(self, kept: Sequence[Tensor]) -> Forward:
        """Return the forward pass with these channels of each group, repaired if so built."""
        ...

    def of_module(self, module: nn.Module) -> Forward:
        """Return the forward pass of a cut module with its own weights."""
        ...


class ProgramCandidates:
    """Runs every candidate through one program, with tensors from the parameter bank."""

    def __init__(
        self, network: Network, program: Program, reconstruction: Reconstruction | None
    ) -> None:
        self._program = program
        self._bank = ParameterBank(network, program, reconstruction)
        self._prefixes = PrefixCache(program, network.plan)

    def cut(self, kept: Sequence[Tensor]) -> Forward:
        """Return the program with the tensors of these channels."""
        tensors = self._bank.bind(kept)
        return BoundProgram(self._program, tensors, self._prefixes, kept)

    def of_module(self, module: nn.Module) -> Forward:
        """Return the program with the module's tensors."""
        tensors = self._bank.bind_tensors(tensors_of(module))
        return BoundProgram(self._program, tensors, self._prefixes, None)


class ModuleCandidates:
    """Builds the cut module; for networks that `torch.export` cannot follow."""

    def __init__(self, network: Network, reconstruction: Reconstruction | None) -> None:
        self._network, self._reconstruction = network, reconstruction

    def cut(self, kept: Sequence[Tensor]) -> Forward:
        """Return the cut module."""
        return BoundModule(cut_network(self._network, kept, self._reconstruction))

    def of_module(self, module: nn.Module) -> Forward:
        """Return the module itself."""
        return BoundModule(module)


def candidates_of(network: Network, reconstruction: Reconstruction | None) -> Candidates:
    """Return the fastest way that computes what the cut module computes.

    The program is tried on a network with half of every group cut and compared with the
    module; where it fails or differs, candidates are scored module by module, and the log
    says why.
    """
    modules = ModuleCandidates(network, reconstruction)
    try:
        programs = ProgramCandidates(network, compile_program(network), reconstruction)
        difference = _difference(programs, modules, network)
    except Exception as error:  # torch.export raises many kinds, and no common one
        logger.info("candidates are scored module by module: %s", error)
        return modules
    if not difference <= AGREEMENT:  # not a number, too
        logger.info("candidates are scored module by module: the program is off by %g", difference)
        return modules
    return programs


def _difference(programs: Candidates, modules: Candidates, network: Network) -> float:
    kept = [torch.arange(0, channels, 2) for channels in network.plan.channels]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, *network.graph.input_shape, generator=generator)
    with torch.inference_mode():
        expected = modules.cut(kept)(images)
        found = programs.cut(kept)(images)
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
