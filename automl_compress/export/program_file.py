"""`.pt2` files: a network as a program of torch, without its Python source."""

import io

import torch
from torch import nn

from automl_compress.export.agreement import Agreement, check_agreement
from automl_compress.export.onnx_file import export_program


def program_bytes(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[bytes, Agreement]:
    """Return a network as a `.pt2` file, and how well what it holds agrees with the network.

    Args:
        module: in evaluation mode.
        input_shape: of one example, without the batch axis.

    Raises:
        ModelInvalid: the forward pass depends on values or on the batch size, or the program
            computes something else.
    """
    buffer = io.BytesIO()
    torch.export.save(export_program(module, input_shape), buffer)
    # Bytes that this function wrote a moment ago; a file that somebody sent is never loaded so.
    buffer.seek(0)
    program = torch.export.load(buffer).module()  # noqa: TID251

    def run(images: object) -> object:
        with torch.no_grad():
            return program(torch.as_tensor(images)).numpy()

    engine = ("torch", torch.__version__)
    return buffer.getvalue(), check_agreement(engine, run, module, input_shape)  # type: ignore[arg-type]
