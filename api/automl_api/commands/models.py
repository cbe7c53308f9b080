"""`automl-compress models`."""

from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.network_options import NetworkOptions
from automl_api.commands.registered import group, renaming
from automl_api.commands.spread import spread

ModelId = Annotated[str, typer.Argument(metavar="ID")]

models = group("models", "networks", "Register, list, show and delete networks.")
models.command("rename")(renaming("models", "a network"))


@models.command()
@spread
def push(
    model: options.NewModelArgument,
    network: NetworkOptions,
    service: options.ServiceOptions,
    name: Annotated[str | None, typer.Option("--name", help="What lists call it.")] = None,
    is_json: options.Json = False,
) -> None:
    """Register a network, whose id searches take as their MODEL."""
    network.fields()  # refused before a connection is made

    from automl_api.client import Client
    from automl_api.commands.inputs import create_model

    with Client(service.url, service.key) as client:
        _print_model(create_model(client, model, network, name), is_json)


@models.command()
@spread
def show(identity: ModelId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """Show what a network costs, which channels are cut together, and what stays whole."""
    from automl_api.client import Client

    with Client(service.url, service.key) as client:
        _print_model(client.model(identity), is_json)


@models.command()
@spread
def layers(
    identity: ModelId, service: options.ServiceOptions, is_json: options.Json = False
) -> None:
    """List a network's layers by the names that --skip takes."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json, print_rows

    with Client(service.url, service.key) as client:
        found = client.model(identity)["layers"]
    if is_json:
        print_json(found)
        return
    rows = [
        (
            each["name"],
            each["operator"],
            str(each["in_channels"]),
            str(each["out_channels"]),
            "x".join(map(str, each["kernel_size"])),
        )
        for each in found
    ]
    print_rows(("layer", "operator", "inputs", "outputs", "kernel"), rows)


def _print_model(told: dict[str, Any], is_json: bool) -> None:
    from automl_api.commands.results import print_json, print_rows

    if is_json:
        print_json(told)
        return
    shape = "x".join(map(str, told["input_shape"]))
    typer.echo(f"{told['id']}  {told['name']}: {shape} in, {told['num_classes']} classes out")
    if len(told["outputs"]) > 1:
        shapes = ["x".join(map(str, each)) or "1" for each in told["outputs"]]
        typer.echo(f"outputs of {', '.join(shapes)}; accuracy is that of output {told['output']}")
    totals = {name: value for name, value in told["totals"].items() if value is not None}
    typer.echo(", ".join(f"{value:,} {name}" for name, value in totals.items()))
    rows = [
        (each["name"], str(each["channels"]), ", ".join(each["producers"]))
        for each in told["groups"]
    ]
    print_rows(("group", "channels", "cut together"), rows)
    for each in told["obstacles"]:
        typer.echo(f"whole: {', '.join(each['layers'])}: {each['operator']}, {each['reason']}")
