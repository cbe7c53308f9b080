"""`.pt2` files: a network as a program of torch, without its Python source."""

import io

import numpy as np
import torch
from torch import nn

from automl_compress.export.agreement import Agreement, check_agreement
from automl_compress.export.onnx_file import export_program
from automl_compress.networks.outputs import (
    every_output,
    one_output,
    output_shapes,
    with_every_output,
)


def program_bytes(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[bytes, Agreement]:
    """Return a network as a `.pt2` file, and how well what it holds agrees with the network.

    Args:
        module: in evaluation mode; the file holds all of its outputs.
        input_shape: of one example, without the batch axis.

    Raises:
        ModelInvalid: the forward pass depends on values or on the batch size, or the program
            computes something else.
    """
    buffer = io.BytesIO()
    whole = with_every_output(module)
    torch.export.save(export_program(whole, input_shape), buffer)
    # Bytes that this function wrote a moment ago; a file that somebody sent is never loaded so.
    buffer.seek(0)
    program = torch.export.load(buffer).module()  # noqa: TID251

    def agreement(output: int) -> Agreement:
        def run(images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return every_output(program, torch.as_tensor(images))[output].numpy()

        engine = ("torch", torch.__version__)
        return check_agreement(engine, run, one_output(whole, output), input_shape)

    count = len(output_shapes(whole, input_shape))
    worst = max(map(agreement, range(count)), key=lambda each: each.difference)
    return buffer.getvalue(), worst
