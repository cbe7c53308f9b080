"""What runs candidates: torch, or OpenVINO where it is the faster one."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from automl_compress.core.errors import ModelInvalid
from automl_compress.core.recipe import Backend
from automl_compress.evaluate.candidates import (
    AGREEMENT,
    Candidates,
    Forward,
    ProgramCandidates,
    difference_on_half,
    half_of,
)
from automl_compress.evaluate.openvino_candidates import OpenVinoCandidates
from automl_compress.export.engines import is_installed
from automl_compress.export.sessions import OPENVINO
from automl_compress.networks.trace import Network

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
# Processor time of one candidate below which OpenVINO is not even loaded: compiling alone takes
# a tenth of a second or more.
LEAST_SECONDS = 0.5
LEAST_GAIN = 0.05  # of torch's time; less is within the noise of the measurement
_TURNS = 6


def backend_candidates(
    backend: Backend, network: Network, torch_way: Candidates, batches: Sequence[Tensor]
) -> tuple[Backend, Candidates]:
    """Return what a recipe's backend comes to, and what runs candidates on it.

    Args:
        backend: of the recipe; `auto` measures.
        network: traced.
        torch_way: runs candidates in torch.
        batches: the images of one full evaluation.

    Raises:
        InvalidInput: `openvino` is asked for and not installed.
        ModelInvalid: `openvino` is asked for and cannot run the network.
    """
    if backend == "torch":
        return "torch", torch_way
    if backend == "openvino":
        return "openvino", _openvino(network, torch_way, batches)
    if not is_installed(OPENVINO) or _seconds([torch_way], network, batches)[0] < LEAST_SECONDS:
        return "torch", torch_way
    try:
        engine = _openvino(network, torch_way, batches)
    except ModelInvalid as error:
        logger.info("candidates are scored in torch: %s", error)
        return "torch", torch_way
    torch_seconds, engine_seconds = _seconds([torch_way, engine], network, batches)
    is_faster = engine_seconds < (1 - LEAST_GAIN) * torch_seconds
    chosen: Backend = "openvino" if is_faster else "torch"
    logger.info(
        "candidates are scored in %s: one takes %.2f s in torch, %.2f s in OpenVINO",
        chosen,
        torch_seconds,
        engine_seconds,
    )
    return chosen, engine if is_faster else torch_way


def _openvino(
    network: Network, torch_way: Candidates, batches: Sequence[Tensor]
) -> OpenVinoCandidates:
    """Return OpenVINO's way, proved on the network with half of every group."""
    if not isinstance(torch_way, ProgramCandidates):
        raise ModelInvalid(
            "OpenVINO cannot score candidates of this network, whose forward pass torch.export "
            "does not follow; set the recipe's backend to auto, or torch"
        )
    size, *shape = batches[0].shape
    way = OpenVinoCandidates(torch_way, size, shape)
    try:
        difference = difference_on_half(way, torch_way, network)
    except Exception as error:  # the engine's errors have no root of their own
        raise _unfit(str(error).strip().partition("\n")[0]) from error
    if not difference <= AGREEMENT:  # not a number, too
        raise _unfit(f"its outputs differ by {difference:.1e}")
    return way


def _unfit(reason: str) -> ModelInvalid:
    return ModelInvalid(
        f"OpenVINO cannot score candidates of this network: {reason}; set the recipe's backend to "
        "auto, or torch"
    )


def _seconds(
    ways: Sequence[Candidates], network: Network, batches: Sequence[Tensor]
) -> list[float]:
    """Return the processor time of a whole evaluation each way, from that of one batch.

    The ways take turns: what disturbs the one then disturbs the other.
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
