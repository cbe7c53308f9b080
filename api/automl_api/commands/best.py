"""`automl-compress best`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def best(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    service: options.ServiceOptions,
    budget: options.BudgetOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the policy document here.")
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            "--network",
            help="Write the compressed network here: .safetensors, or .amlc for the packed file.",
        ),
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Fetch the best policy of a job, or the best within a budget, and the compressed network."""
    limit: dict[str, Any] = {}
    if budget.is_given:
        kept, smaller_ratios = budget.required()
        if smaller_ratios:
            raise typer.BadParameter("one policy is fetched; give one ratio")
        limit = {"metric": kept["metric"], "max_ratio": kept["ratio"]}

    from automl_api.client import Client
    from automl_api.commands.results import print_json, print_policy

    with Client(service.url, service.key) as client:
        found = client.job(job)
        document = found.best(**limit)
        if network is not None:
            found.download_network(document, network)
    if output is not None:
        document.save(output)
    if is_json:
        print_json(document.to_json())
    else:
        print_policy(document)
        for path in filter(None, (output, network)):
            typer.echo(f"wrote {path}")
