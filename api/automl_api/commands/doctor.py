"""`automl-compress doctor`."""

from dataclasses import asdict
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def doctor(
    place: options.PlaceOptions,
    is_worker_alone: Annotated[
        bool, typer.Option("--worker", help="Only this machine's worker and what it needs.")
    ] = False,
    is_json: options.Json = False,
) -> None:
    """Check what the service needs: packages, database, disk, port, threads, every worker."""
    import json

    from automl_api.diagnosis import diagnose, diagnose_worker
    from automl_api.serving import read_settings

    settings = read_settings(**asdict(place))
    findings = diagnose_worker(settings) if is_worker_alone else diagnose(settings)
    if is_json:
        typer.echo(json.dumps([finding.to_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{finding.mark:<5} {finding.name:<12} {finding.text}")
    if any(finding.mark == "wrong" for finding in findings):
        raise typer.Exit(1)
