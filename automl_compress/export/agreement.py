"""Whether an exported file computes what the network computes, in the engine that will run it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from automl_compress.core.errors import ModelInvalid

BATCHES = (1, 7, 32)  # the usual one, one that no alignment expects, and a large one
TOLERANCE = 1e-4  # float32 gives up to 1e-5, float16 weights 5e-4, bfloat16 arithmetic 5e-3
_SEED = 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well an engine's outputs agree with torch's.

    difference: the largest absolute difference of an output, as a fraction of the largest
        absolute output; over all batches.
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
        ModelInvalid: the engine refuses a batch size, or its outputs differ by more than 1e-4
            of the largest.
    """
    differences: list[float] = []
    for batch in BATCHES:
        images = random_images(batch, input_shape)
        with torch.no_grad():
            expected = module(images).numpy()
        differences.append(_difference(_run(run, images.numpy(), engine[0]), expected))
    difference = float(np.max(differences))  # the built-in max passes over NaN
    if not difference <= TOLERANCE:
        raise ModelInvalid(
            f"the exported file, run by {engine[0]} {engine[1]}, differs from the network by "
            f"{difference:.1e} of its largest output, at most {TOLERANCE:.0e} is allowed; the file "
            "is not kept: export to another format, or try another version of the engine"
        )
    return Agreement(*engine, BATCHES, difference)


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
