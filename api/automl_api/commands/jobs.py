"""`automl-compress jobs`."""

from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import micronet, options, steering
from automl_api.commands.following import Following
from automl_api.commands.spread import spread

app = typer.Typer(help="List, watch and steer jobs.", no_args_is_help=True)

for command in (
    steering.change,
    steering.clone,
    steering.rm,
    steering.compare,
    micronet.stages,
):
    app.command()(command)

JobId = Annotated[str, typer.Argument(metavar="JOB")]


@app.command("ls")
@spread
def list_jobs(
    service: options.ServiceOptions,
    status: Annotated[str | None, typer.Option("--status", help="Of this state only.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="In the name.")] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="As -best or name; - for falling.")
    ] = None,
    searcher: Annotated[str | None, typer.Option("--searcher", help="Of this one only.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME:VALUE", help="With this tag only.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many at most.")] = 20,
    is_json: options.Json = False,
) -> None:
    """List the jobs, the newest first."""
    from itertools import islice

    from automl_api.client import Client
    from automl_api.commands.results import print_jobs, print_json

    with Client(service.url, service.key) as client:
        wanted = client.jobs(
            status=status, text=text, searcher=searcher, tag=tag or None, sort=sort
        )
        found = [job.content for job in islice(wanted, limit)]
    if is_json:
        print_json(found)
    else:
        print_jobs(found)


@app.command()
@spread
def show(job: JobId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """Show one job."""
    from automl_api.client import Client
    from automl_api.commands.results import print_jobs, print_json

    with Client(service.url, service.key) as client:
        content = client.job(job).content
    if is_json:
        print_json(content)
        return
    print_jobs([content])
    if content["error"]:
        typer.echo(f"error: {content['error'].get('detail')}")


@app.command()
@spread
def watch(job: JobId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """Follow a job to its end."""
    from automl_api.client import Client
    from automl_api.commands.results import finish

    with Client(service.url, service.key) as client:
        finish(client.job(job), Following(is_watching=True), is_json=is_json)


@app.command()
@spread
def wait(
    job: JobId,
    service: options.ServiceOptions,
    timeout: options.Timeout = None,
    is_json: options.Json = False,
) -> None:
    """Wait until a job has ended."""
    from automl_api.client import Client
    from automl_api.commands.results import finish

    with Client(service.url, service.key) as client:
        finish(client.job(job), Following(is_waiting=True, timeout=timeout), is_json=is_json)


@app.command()
@spread
def cancel(job: JobId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """End a job for good."""
    _command("cancel", job, service, is_json)


@app.command()
@spread
def pause(job: JobId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """Stop a job until it is resumed."""
    _command("pause", job, service, is_json)


@app.command()
@spread
def resume(job: JobId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """Go on with a paused job."""
    _command("resume", job, service, is_json)


@app.command()
@spread
def trials(
    job: JobId,
    service: options.ServiceOptions,
    file: Annotated[
        Path | None, typer.Option("--csv", help="Write them here instead, a column for a figure.")
    ] = None,
    is_json: options.Json = False,
) -> None:
    """List a job's trials by number."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        if file is not None:
            typer.echo(f"wrote {client.job(job).save_trials(file)}")
            return
        found = list(client.job(job).trials())
    if is_json:
        print_json(found)
        return
    for trial in found:
        score = "" if trial["score"] is None else f"{trial['score']:.4f}"
        typer.echo(f"{trial['number']:>5}  {trial['state']:<9} {score} {trial['failure'] or ''}")


@app.command()
@spread
def front(
    job: JobId,
    service: options.ServiceOptions,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Of the cost; the budget's unless set.")
    ] = None,
    fidelity: Annotated[
        str | None, typer.Option("--fidelity", help="proxy or confirmed; both unless set.")
    ] = None,
    is_json: options.Json = False,
) -> None:
    """List the policies that no other one beats in cost and accuracy, the cheapest first."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json, print_rows

    with Client(service.url, service.key) as client:
        found = client.job(job).front(metric=metric, fidelity=fidelity)
    if is_json:
        print_json(found)
        return
    rows = [
        (
            str(each["trial_number"]),
            f"{each['ratio']:.1%}",
            f"{each['accuracy']:.2%}",
            each["fidelity"],
            each["policy_id"] or "",
        )
        for each in found["points"]
    ]
    print_rows(("trial", f"{found['metric']} kept", "accuracy", "fidelity", "policy"), rows)


@app.command()
@spread
def report(
    job: JobId,
    service: options.ServiceOptions,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where it goes.")] = Path(
        "report.html"
    ),
    is_json: options.Json = False,
) -> None:
    """Write a job's report, one HTML file to send to somebody."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        client.job(job).save_report(output)
    if is_json:
        print_json({"output": str(output)})
    else:
        typer.echo(f"wrote {output}")


@app.command()
@spread
def logs(job: JobId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """Print what happened to a job, a line for each event."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        lines = client.job(job).logs()
        if is_json:
            print_json({"lines": [*lines]})
            return
        for line in lines:
            typer.echo(line)


def _command(verb: str, identity: str, service: options.ServiceOptions, is_json: bool) -> None:
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        job = client.job(identity)
        {"cancel": job.cancel, "pause": job.pause, "resume": job.resume}[verb]()
    if is_json:
        print_json(job.content)
    else:
        typer.echo(f"{job.id} {job.status}")
