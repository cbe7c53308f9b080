"""Two ways to run a candidate: the shared program, or the cut module itself."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.quantised_network import quantise_network
from automl_compress.compress.quantisers import Grid
from automl_compress.compress.reconstruction import Reconstruction
from automl_compress.core import LayerChoice
from automl_compress.evaluate.bank import ParameterBank
from automl_compress.evaluate.candidate import Candidate
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

    candidate: None where the tensors say more than the candidate does.
    """

    program: Program
    tensors: Sequence[Tensor]
    prefixes: PrefixCache
    candidate: Candidate | None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, ...)."""
        return self.program(images, self.tensors)

    def logits(self, batches: Sequence[Tensor]) -> Tensor:
        """Run from behind a prefix that did not change, where one is known."""
        if self.candidate is None:
            return torch.cat([self(images) for images in batches])
        return self.prefixes.logits(self.candidate, self.tensors, batches)


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

    def of(self, candidate: Candidate) -> Forward:
        """Return the forward pass of a candidate, repaired if so built."""
        ...

    def of_module(self, module: nn.Module, layers: Mapping[str, LayerChoice]) -> Forward:
        """Return the forward pass of a cut float module whose layers then become these."""
        ...


class ProgramCandidates:
    """Runs candidates through a program, with tensors from the parameter bank.

    There is a second program, with roundings, for those that quantise layer inputs; it is made
    for the first of them.
    """

    def __init__(
        self,
        network: Network,
        reconstruction: Reconstruction | None = None,
        grids: InputGrids | None = None,
        program: Program | None = None,
    ) -> None:
        """Compile the program without roundings, where it is not given.

        Raises:
            Exception: whatever `torch.export` raises.
        """
        self._parts = network, reconstruction, grids
        self._plain = self._with(program or compile_program(network))

    @property
    def program(self) -> Program:
        """The program without roundings."""
        return self._plain.program

    @property
    def modules(self) -> "ModuleCandidates":
        """The same candidates as modules."""
        return ModuleCandidates(*self._parts)

    @cached_property
    def _rounding(self) -> "_Compiled":
        return self._with(compile_program(self._parts[0], rounds_inputs=True))

    def _with(self, program: Program) -> "_Compiled":
        network, reconstruction, grids = self._parts
        bank = ParameterBank(network, program, reconstruction, grids)
        return _Compiled(program, bank, PrefixCache(program, network.plan))

    def of(self, candidate: Candidate) -> BoundProgram:
        """Return the program with the candidate's tensors."""
        compiled = self._rounding if candidate.rounds_inputs else self._plain
        tensors = compiled.bank.bind(candidate)
        return BoundProgram(compiled.program, tensors, compiled.prefixes, candidate)

    def of_module(self, module: nn.Module, layers: Mapping[str, LayerChoice]) -> BoundProgram:
        """Return the program with the module's tensors."""
        compiled = self._rounding if Candidate((), layers).rounds_inputs else self._plain
        tensors = compiled.bank.bind_tensors(tensors_of(module), layers)
        return BoundProgram(compiled.program, tensors, compiled.prefixes, None)


@dataclass(frozen=True)
class _Compiled:
    """A program and what belongs to it."""

    program: Program
    bank: ParameterBank
    prefixes: PrefixCache


class ModuleCandidates:
    """Builds the cut module; for networks that `torch.export` cannot follow."""

    def __init__(
        self,
        network: Network,
        reconstruction: Reconstruction | None = None,
        grids: InputGrids | None = None,
    ) -> None:
        self._network, self._reconstruction, self._grids = network, reconstruction, grids

    @property
    def modules(self) -> "ModuleCandidates":
        """These."""
        return self

    def of(self, candidate: Candidate) -> BoundModule:
        """Return the cut module."""
        module = cut_network(self._network, candidate.kept, self._reconstruction)
        return self.of_module(module, candidate.layers)

    def of_module(self, module: nn.Module, layers: Mapping[str, LayerChoice]) -> BoundModule:
        """Return the module with its layers as they become."""
        if not layers:
            return BoundModule(module)
        grids: dict[str, Grid] = {}
        for name, choice in layers.items():
            if choice.rounds_inputs:
                assert self._grids is not None  # who quantises inputs calibrates them
                grids[name] = self._grids.of(name, choice.activation_bits)
        norms = self._network.plan.norm_after
        return BoundModule(quantise_network(module, layers, norms, grids).module)


def candidates_of(
    network: Network,
    reconstruction: Reconstruction | None = None,
    grids: InputGrids | None = None,
    program: Program | None = None,
) -> ProgramCandidates | ModuleCandidates:
    """Return the fastest way that computes what the cut module computes.

    Args:
        network: traced.
        reconstruction: repairs what is cut; None leaves its weights alone.
        grids: of layer inputs; needed by candidates that round them.
        program: the network's, compiled before; None compiles it.

    The program is tried on a network with half of every group cut and compared with the
    module; where it fails or differs, candidates are scored module by module, and the log
    says why.
    """
    modules = ModuleCandidates(network, reconstruction, grids)
    try:
        programs = ProgramCandidates(network, reconstruction, grids, program)
        difference = difference_on_half(programs, modules, network)
    except Exception as error:  # torch.export raises many kinds, and no common one
        logger.info("candidates are scored module by module: %s", error)
        return modules
    if not difference <= AGREEMENT:  # not a number, too
        logger.info("candidates are scored module by module: the program is off by %g", difference)
        return modules
    return programs


def difference_on_half(first: Candidates, second: Candidates, network: Network) -> float:
    """Compare two ways on the network with half of every group.

    Returns:
        The largest difference of logits, as a share of the second's largest logit.
    """
    images = torch.randn(3, *network.graph.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, expected = (way.of(half_of(network))(images) for way in (first, second))
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


def half_of(network: Network) -> Candidate:
    """Return the candidate with every second channel of every group."""
    return Candidate([torch.arange(0, channels, 2) for channels in network.plan.channels])
