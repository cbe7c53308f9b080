"""`automl-compress convert`."""

from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def convert(
    weights: Annotated[Path, typer.Argument(metavar="FILE", help="What torch.save wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Beside FILE unless set.")
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Write a pickled state dict as safetensors, which the service takes; no code of it is run."""
    import json

    from automl_api.local_convert import convert as write

    target = output or weights.with_suffix(".safetensors")
    count = write(weights, target)
    told = {"tensors": count, "output": str(target)}
    typer.echo(json.dumps(told) if is_json else f"wrote {count} tensors to {target}")
