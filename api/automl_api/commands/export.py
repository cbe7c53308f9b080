"""`automl-compress export`."""

from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def export(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    service: options.ServiceOptions,
    optuna: Annotated[Path, typer.Option("--optuna", help="Write a journal file of Optuna here.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    is_json: options.Json = False,
) -> None:
    """Write a job's finished trials for another tool: optuna-dashboard FILE shows them."""
    from automl_agents.optuna_journal import write_journal
    from automl_api.client import Client
    from automl_api.commands.results import print_json
    from automl_api.trial_json import journal_trials

    with Client(service.url, service.key) as client:
        found = client.job(job)
        content, trials = found.content, journal_trials(found.trials())
    attributes = {"job": content["id"], "model": content["model_id"], "study": content["study"]}
    name = f"{content['name']} ({content['id']})"
    count = write_journal(optuna, name, attributes, trials, replaces=force)
    if is_json:
        print_json({"path": str(optuna), "study": name, "trials": count})
    else:
        typer.echo(f"wrote {count} trials to {optuna}; look at them: optuna-dashboard {optuna}")
