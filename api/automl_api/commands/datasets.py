"""`automl-compress datasets`."""

from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.network_options import DataOptions
from automl_api.commands.registered import group, renaming
from automl_api.commands.spread import spread

datasets = group("datasets", "data sets", "Register, list, show and delete data sets.")
datasets.command("rename")(renaming("datasets", "a data set"))


@datasets.command()
@spread
def push(
    data: options.NewDataArgument,
    images: DataOptions,
    service: options.ServiceOptions,
    name: Annotated[str | None, typer.Option("--name", help="What lists call them.")] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=2, help="As many as the labels need unless set.")
    ] = None,
    max_train_images: Annotated[
        int | None, typer.Option(min=2, help="Of the train split; all unless set.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the permutation that makes splits of data without.")
    ] = 0,
    is_json: options.Json = False,
) -> None:
    """Register data, whose id searches take as their DATA."""
    told = {"num_classes": num_classes, "max_train_images": max_train_images, "seed": seed or None}
    chosen = {option: value for option, value in told.items() if value is not None}
    given = {**images.data_options(), **chosen}

    from automl_api.client import Client
    from automl_api.commands.inputs import create_dataset

    with Client(service.url, service.key) as client:
        _print_dataset(create_dataset(client, data, given, name), is_json)


@datasets.command()
@spread
def show(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    service: options.ServiceOptions,
    is_json: options.Json = False,
) -> None:
    """Show the splits of a data set, and what was declared of its images."""
    from automl_api.client import Client

    with Client(service.url, service.key) as client:
        _print_dataset(client.dataset(identity), is_json)


def _print_dataset(told: dict[str, Any], is_json: bool) -> None:
    from automl_api.commands.results import print_json, print_rows

    if is_json:
        print_json(told)
        return
    shape = "x".join(map(str, told["input_shape"]))
    typer.echo(
        f"{told['id']}  {told['name']}: {told['kind']}, {shape}, {told['num_classes']} classes"
    )
    for name, values in told["normalisation"].items():
        typer.echo(f"{name} {', '.join(f'{value:.4g}' for value in values)}")
    rows = [
        (name, f"{split['images']:,}", split["provenance"])
        for name, split in told["splits"].items()
    ]
    print_rows(("split", "images", "which"), rows)
