"""`automl-compress doctor`."""

from dataclasses import asdict
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def doctor(
    place: options.PlaceOptions,
    is_worker_expected: Annotated[
        bool, typer.Option("--worker", help="Also whether a worker of this machine is alive.")
    ] = False,
    is_json: options.Json = False,
) -> None:
    """Check what the service needs: packages, database, disk, port, threads."""
    import json

    from automl_api.diagnosis import diagnose
    from automl_api.serving import read_settings

    findings = diagnose(read_settings(**asdict(place)), is_worker_expected)
    if is_json:
        typer.echo(json.dumps([finding.to_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{finding.mark:<5} {finding.name:<12} {finding.text}")
    if any(finding.mark == "wrong" for finding in findings):
        raise typer.Exit(1)
