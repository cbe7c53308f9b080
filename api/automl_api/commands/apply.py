"""`automl-compress apply`: a policy document and the uncut weights to the smaller network."""

from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import options


def apply(
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="A policy.json.")],
    weights: Annotated[
        Path,
        typer.Option(
            "--weights",
            help="The uncut network's weights, a safetensors file, or the network, a .pt2 file.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the smaller network's weights go.")
    ],
    tuned: Annotated[
        Path | None,
        typer.Option("--tuned", help="The compressed weights, if tuned after the cut."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="Instead of the document's.")
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Cut a network as a policy document says; no data and no service are needed."""
    from automl_api.local_apply import ApplyRequest, apply_files

    written = apply_files(ApplyRequest(policy, weights, output, tuned, architecture))
    if is_json:
        import json

        typer.echo(json.dumps(written))
        return
    typer.echo(
        f"wrote {output}: {written['parameters']['after']:,} of "
        f"{written['parameters']['before']:,} parameters, {written['macs']['after']:,} of "
        f"{written['macs']['before']:,} MACs"
    )
