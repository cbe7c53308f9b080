"""`automl-compress policies`: those that the service stores, and documents on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.registered import group
from automl_api.commands.spread import spread

policies = group("policies", "stored policies", "Bring, list, show, check and delete policies.")


@policies.command()
@spread
def show(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    service: options.ServiceOptions,
    is_json: options.Json = False,
) -> None:
    """Show what a stored policy keeps, costs and scores."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json, print_layers, print_policy

    with Client(service.url, service.key) as client:
        document = client.policy(identity)
    if is_json:
        print_json(document.to_json())
        return
    print_policy(document)
    print_layers(document)


@policies.command()
def validate(
    policy: Annotated[Path, typer.Argument(metavar="FILE", help="A policy.json.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="The uncut network's weights, a safetensors file, or the network, a .pt2 file; "
            "without it the document alone is checked.",
        ),
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option("--tuned", help="The compressed weights, if tuned after the cut."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="Instead of the document's.")
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Check a policy document, and that it applies to a network; writes nothing."""
    if weights is None and (tuned is not None or architecture is not None):
        raise typer.BadParameter("--tuned and --architecture go with --weights; give that too")

    from automl_api.local_apply import cut_network
    from automl_compress.core.document import PolicyDocument

    document = PolicyDocument.load(policy)
    if weights is not None:
        cut_network(document, weights, tuned=tuned, architecture=architecture)
    if is_json:
        from automl_api.commands.results import print_json

        told = {"is_valid": True, "digest": document.digest, "applies": weights is not None}
        print_json({**told, "model": document.model.to_json()})
        return
    typer.echo(f"{policy} is whole: {document.digest}, for {document.model.name!r}")
    if weights is not None:
        typer.echo(f"it applies to {weights}")


@policies.command()
@spread
def push(
    policy: Annotated[Path, typer.Argument(metavar="FILE", help="A policy.json.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The id of its network.")],
    service: options.ServiceOptions,
    network: Annotated[
        Path | None,
        typer.Option("--network", help="The compressed weights, where they were tuned."),
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Store a policy of one's own, to evaluate, compare and export it."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        stored = client.bring_policy(policy, model, weights=network)
    if is_json:
        print_json(stored)
    else:
        typer.echo(stored["id"])
