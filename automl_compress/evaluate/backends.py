"""What runs candidates: torch, or OpenVINO or a GPU where that is faster."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.core.recipe import Backend
from automl_compress.evaluate.candidates import (
    AGREEMENT,
    Candidates,
    Forward,
    ModuleCandidates,
    ProgramCandidates,
    difference_on_half,
    half_of,
)
from automl_compress.evaluate.gpu_candidates import GpuCandidates
from automl_compress.evaluate.openvino_candidates import OpenVinoCandidates
from automl_compress.export.engines import is_installed
from automl_compress.export.sessions import OPENVINO
from automl_compress.networks import devices
from automl_compress.networks.trace import Network

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
TorchCandidates = ProgramCandidates | ModuleCandidates
NAMES: Mapping[Backend, str] = {"torch": "torch", "openvino": "OpenVINO", "cuda": "torch on a GPU"}
# Processor time of one candidate below which nothing else is even loaded: OpenVINO takes a tenth
# of a second or more to compile one, and a GPU seconds to begin.
LEAST_SECONDS = 0.5
LEAST_GAIN = 0.05  # of torch's time; less is within the noise of the measurement
GPU_AGREEMENT = 1e-2  # of the largest logit: TensorFloat-32 keeps ten bits of a mantissa
_TURNS = 6


def backend_candidates(
    backend: Backend, network: Network, torch_way: TorchCandidates, batches: Sequence[Tensor]
) -> tuple[Backend, Candidates]:
    """Return what a recipe's backend comes to, and what runs candidates on it.

    Args:
        backend: of the recipe; `auto` measures.
        network: traced.
        torch_way: runs candidates in torch.
        batches: the images of one full evaluation.

    Raises:
        InvalidInput: `openvino` is asked for and not installed, or `cuda` without a GPU.
        ModelInvalid: the engine that is asked for cannot run the network.
    """
    if backend == "torch":
        return "torch", torch_way
    if backend != "auto":
        return backend, _MAKERS[backend](network, torch_way, batches)
    others = _others()
    if not others or _seconds([torch_way], network, batches)[0] < LEAST_SECONDS:
        return "torch", torch_way
    ways: dict[Backend, Candidates] = {"torch": torch_way}
    for name in others:
        try:
            ways[name] = _MAKERS[name](network, torch_way, batches)
        except ModelInvalid as error:
            logger.info("candidates are not scored in %s: %s", NAMES[name], error)
    return _fastest(ways, network, batches)


def _others() -> list[Backend]:
    """List what this machine has beside torch on its processor."""
    openvino: list[Backend] = ["openvino"] if is_installed(OPENVINO) else []
    return openvino if devices.gpu() is None else [*openvino, "cuda"]


def _fastest(
    ways: Mapping[Backend, Candidates], network: Network, batches: Sequence[Tensor]
) -> tuple[Backend, Candidates]:
    """Return the fastest way; torch on the processor, unless another gains by more than noise."""
    seconds = dict(zip(ways, _seconds([*ways.values()], network, batches), strict=True))
    chosen = min(ways, key=lambda name: seconds[name] / (1 if name == "torch" else 1 - LEAST_GAIN))
    told = ", ".join(f"{taken:.2f} s in {NAMES[name]}" for name, taken in seconds.items())
    logger.info("candidates are scored in %s: one takes %s", NAMES[chosen], told)
    return chosen, ways[chosen]


def _cuda(network: Network, torch_way: TorchCandidates, batches: Sequence[Tensor]) -> GpuCandidates:
    """Return a GPU's way, proved on the network with half of every group."""
    device = devices.gpu()
    if device is None:
        raise InvalidInput(
            "recipe.backend is 'cuda', and torch finds no GPU here; set it to auto, which takes "
            "one where there is one, or install a torch with CUDA on a machine that has one"
        )
    way = GpuCandidates(torch_way.modules, device)
    _prove(way, torch_way, network, "cuda", GPU_AGREEMENT)
    return way


def _openvino(
    network: Network, torch_way: TorchCandidates, batches: Sequence[Tensor]
) -> OpenVinoCandidates:
    """Return OpenVINO's way, proved on the network with half of every group."""
    if not isinstance(torch_way, ProgramCandidates):
        raise ModelInvalid(
            "OpenVINO cannot score candidates of this network, whose forward pass torch.export "
            "does not follow; set the recipe's backend to auto, or torch"
        )
    size, *shape = batches[0].shape
    way = OpenVinoCandidates(torch_way, size, shape)
    _prove(way, torch_way, network, "openvino", AGREEMENT)
    return way


_MAKERS: Mapping[Backend, Callable[[Network, TorchCandidates, Sequence[Tensor]], Candidates]] = {
    "openvino": _openvino,
    "cuda": _cuda,
}


def _prove(
    way: Candidates, torch_way: TorchCandidates, network: Network, name: Backend, agreement: float
) -> None:
    """Raise ModelInvalid unless a way gives what torch gives on the processor."""
    try:
        difference = difference_on_half(way, torch_way, network)
    except Exception as error:  # engines' errors have no root of their own
        raise _unfit(name, str(error).strip().partition("\n")[0]) from error
    if not difference <= agreement:  # not a number, too
        raise _unfit(name, f"its outputs differ by {difference:.1e}")


def _unfit(name: Backend, reason: str) -> ModelInvalid:
    return ModelInvalid(
        f"{NAMES[name]} cannot score candidates of this network: {reason}; set the recipe's "
        "backend to auto, or torch"
    )


def _seconds(
    ways: Sequence[Candidates], network: Network, batches: Sequence[Tensor]
) -> list[float]:
    """Return the time of a whole evaluation each way, from that of one batch.

    The ways take turns: what disturbs the one then disturbs the other. Processor time is steadier
    than wall time, and a processor that waits for its GPU is busy waiting.
    """
    candidate, images = half_of(network), batches[0]
    built: list[float] = []
    forwards: list[Forward] = []
    with torch.inference_mode():
        for way in ways:
            way.of(candidate)(images)  # warms up
            seconds, forward = _timed(lambda way=way: way.of(candidate))
            built.append(seconds)
            forwards.append(forward)
        turns = [[_timed(lambda f=f: f(images))[0] for f in forwards] for _ in range(_TURNS)]
    least = map(min, zip(*turns, strict=True))
    return [build + batch * len(batches) for build, batch in zip(built, least, strict=True)]


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result
