"""The command line. Everything heavy is imported by the command that needs it."""

import sys
from typing import Annotated

import typer

from automl_api.commands import (
    apply,
    best,
    confirm,
    convert,
    database,
    datasets,
    demo,
    doctor,
    evaluate,
    export,
    jobs,
    keys,
    measure_latency,
    micronet,
    models,
    packing,
    policies,
    registered,
    run,
    search,
    sensitivity,
    serve,
    steering,
    train,
    worker,
)

app = typer.Typer(
    name="automl-compress",
    help="Search for the compression policy that keeps a network accurate within a budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 the job failed, 2 wrong usage, 3 the service said no, "
    "4 it took too long.",
)
app.command()(demo.demo)
app.command()(serve.serve)
app.command()(worker.worker)
app.command()(search.search)
app.command()(micronet.micronet)
app.command()(run.run)
app.command()(train.train)
app.command()(best.best)
app.command()(confirm.confirm)
app.command()(evaluate.evaluate)
app.command()(sensitivity.sensitivity)
app.command()(measure_latency.measure_latency)
app.command()(export.export)
app.command()(apply.apply)
app.command()(convert.convert)
app.command()(packing.pack)
app.command()(packing.inspect)
app.command()(packing.unpack)
app.command()(steering.diff)
app.command()(doctor.doctor)
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.models, name="models")
app.add_typer(datasets.datasets, name="datasets")
app.add_typer(registered.files, name="files")
app.add_typer(policies.policies, name="policies")
app.add_typer(registered.targets, name="targets")
app.add_typer(keys.app, name="keys")
app.add_typer(database.app, name="db")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from automl_compress import __version__

        typer.echo(f"automl-compress {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Say which.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line and exit."""
    is_json = "--json" in sys.argv
    try:
        # What wrong usage says is JSON, too, where that is wanted: then it is raised.
        sys.exit(app(standalone_mode=not is_json))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # every error becomes an exit code in one place
        from automl_api.commands.failure import report

        sys.exit(report(error, is_json=is_json))


if __name__ == "__main__":
    main()
