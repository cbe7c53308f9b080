"""Whether an exported file computes what the network computes, in the engine that will run it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from automl_compress.compress.input_grids import rounds_inputs
from automl_compress.core.errors import ModelInvalid

BATCHES = (1, 7, 32)  # the usual one, one that no alignment expects, and a large one
TOLERANCE = 1e-4  # float32 gives up to 1e-5, float16 weights 5e-4, bfloat16 arithmetic 5e-3
# Where layers round their inputs, the last bit of a sum decides between two codes now and then,
# and later layers spread it: single outputs differ, but little of their energy does.
ROUNDED_TOLERANCE = 0.05
_SEED = 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well an engine's outputs agree with torch's.

    difference: the largest absolute difference of an output, as a fraction of the largest
        absolute output; of a network that rounds layer inputs the root mean square difference, as
        a fraction of the outputs'. Over all batches.
    """

    engine: str
    version: str
    batches: tuple[int, ...]
    difference: float

    def to_json(self) -> dict[str, Any]:
        """Return the agreement as a JSON object."""
        return {
            "engine": self.engine,
            "version": self.version,
            "batches": list(self.batches),
            "difference": self.difference,
        }


def random_images(batch: int, input_shape: tuple[int, ...]) -> Tensor:
    """Return the same standard normal images (B, *input_shape) at every call."""
    generator = torch.Generator().manual_seed(_SEED + batch)
    return torch.randn(batch, *input_shape, generator=generator)


def check_agreement(
    engine: tuple[str, str],
    run: Callable[[np.ndarray], np.ndarray],
    module: nn.Module,
    input_shape: tuple[int, ...],
) -> Agreement:
    """Compare an exported file with the network that it was made from.

    Args:
        engine: its name and version.
        run: from images (B, *input_shape) to outputs, by the engine.
        module: the network, in evaluation mode.
        input_shape: of one example, without the batch axis.

    Raises:
        ModelInvalid: the engine refuses a batch size, or its outputs differ by more than 1e-4,
            or 0.05 where the network rounds layer inputs.
    """
    differences: list[float] = []
    tolerance = tolerance_of(module)
    measure = _rms_difference if rounds_inputs(module) else _difference
    for batch in BATCHES:
        images = random_images(batch, input_shape)
        with torch.no_grad():
            expected = module(images).numpy()
        differences.append(measure(_run(run, images.numpy(), engine[0]), expected))
    difference = float(np.max(differences))  # the built-in max passes over NaN
    if not difference <= tolerance:
        raise ModelInvalid(
            f"the exported file, run by {engine[0]} {engine[1]}, differs from the network by "
            f"{difference:.1e} of its outputs, at most {tolerance:.0e} is allowed; the file "
            "is not kept: export to another format, or try another version of the engine"
        )
    return Agreement(*engine, BATCHES, difference)


def tolerance_of(module: nn.Module) -> float:
    """Return by how much an engine's outputs may differ from a network's."""
    return ROUNDED_TOLERANCE if rounds_inputs(module) else TOLERANCE


def _run(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, engine: str) -> np.ndarray:
    try:
        return run(images)
    except Exception as error:  # whatever an engine raises
        raise ModelInvalid(
            f"{engine} fails on a batch of {len(images)}: {str(error).strip()[:500]}; the file is "
            "not kept: the network must take every batch size"
        ) from error


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return float("inf")
    largest = float(np.abs(expected).max())
    return float(np.abs(found - expected).max()) / (largest or 1.0)


def _rms_difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return float("inf")
    scale = max(float(np.square(expected).mean()), 1e-12)
    return float(np.sqrt(np.square(found - expected).mean() / scale))
