"""The rebuilt network against the program it was made of, on random images."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.program_file.archive import refuse
from automl_compress.networks.program_file.network import ProgramNetwork, run_steps
from automl_compress.networks.program_file.steps import ProgramGraph, Wiring

_TOLERANCE = 1e-5  # of the largest logit; both run the same operators
_BATCH_TOLERANCE = 1e-3  # batches of other sizes are summed in another order
_BATCH = 3
_DYNAMIC = (
    "export it for any: torch.export.export(module, (images,), "
    "dynamic_shapes=({0: torch.export.Dim('batch')},))"
)


def check_rebuilt(
    network: ProgramNetwork, graph: ProgramGraph, plain: Wiring, stored: Mapping[str, Tensor]
) -> None:
    """Run a rebuilt network, which is left in evaluation mode.

    Args:
        network: what was rebuilt.
        graph: what the program says.
        plain: its steps, as operators.
        stored: its tensors by the names that steps use.

    Raises:
        ModelInvalid: it computes something else than the program, cannot run other numbers of
            images, or overwrites its images or weights.
    """
    network.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(graph.batch or _BATCH, *graph.input_shape, generator=generator)
    kept = images.clone()
    before = _versions(network)
    with torch.no_grad():
        expected = run_steps(plain.with_expiry(), {**stored, plain.images: images}, _no_module)
        _check_types(expected)
        if not torch.equal(images, kept):
            refuse(
                "holds a network that overwrites its images",
                "let its first operator not work in place, and export it again",
            )
        outputs = _outputs(network, images)
        if _versions(network) != before:
            refuse(
                "holds a network that overwrites its own tensors",
                "put it into evaluation mode (module.eval()), and export it again",
            )
        if not _agree(outputs, expected, _TOLERANCE):
            refuse("holds a network that computes something else once its modules are rebuilt")
        _check_batches(network, graph, generator)


def _outputs(network: ProgramNetwork, images: Tensor) -> tuple[Tensor, ...]:
    outputs = network(images)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _check_types(outputs: Sequence[Tensor]) -> None:
    for number, each in enumerate(outputs):
        if not each.is_floating_point():
            which = f" as output {number}" if len(outputs) > 1 else ""
            refuse(
                f"returns {each.dtype}{which}; a network returns logits (B, classes)",
                "return what comes before argmax or a threshold, and export it again",
            )


def _versions(network: ProgramNetwork) -> list[int]:
    return [each._version for each in (*network.parameters(), *network.buffers())]


def _check_batches(
    network: ProgramNetwork, graph: ProgramGraph, generator: torch.Generator
) -> None:
    images = torch.randn(_BATCH, *graph.input_shape, generator=generator)
    exported = "any number of" if graph.batch is None else f"{graph.batch}"
    try:
        together, alone = _outputs(network, images), _outputs(network, images[:1])
    except ModelInvalid as error:
        refuse(f"was exported for {exported} images, and cannot run others ({error})", _DYNAMIC)
    least = 2 if len(together) == 1 else 1  # beside logits there may be a number for each image
    for several, one in zip(together, alone, strict=True):
        if several.dim() < least or (len(several), len(one)) != (_BATCH, 1):
            refuse(
                f"returns {tuple(several.shape)} for {_BATCH} images; a network returns logits "
                "(B, classes)",
                _DYNAMIC,
            )
    # Only a program for one number of images may have that number where it means something else.
    if graph.batch is not None and not _agree(
        [each[:1] for each in together], alone, _BATCH_TOLERANCE
    ):
        refuse(f"was exported for {exported} images, and computes others wrongly", _DYNAMIC)


def _agree(first: Sequence[Tensor], second: Sequence[Tensor], tolerance: float) -> bool:
    return all(_is_near(one, other, tolerance) for one, other in zip(first, second, strict=True))


def _is_near(first: Tensor, second: Tensor, tolerance: float) -> bool:
    if first.shape != second.shape:
        return False
    finite = second[second.isfinite()].abs()
    bound = tolerance * float(finite.max()) if len(finite) else 0.0
    return torch.allclose(first, second, rtol=0.0, atol=bound, equal_nan=True)


def _no_module(path: str) -> nn.Module:
    raise AssertionError(f"{path} is run before it is rebuilt")
