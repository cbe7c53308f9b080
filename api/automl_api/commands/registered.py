"""`ls`, `rm` and `rename` of what is registered; `automl-compress files` and `targets`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread

MostRows = Annotated[int, typer.Option("--limit", min=1, help="So many at most.")]


def group(noun: str, what: str, summary: str | None = None) -> typer.Typer:
    """Make the commands `ls` and `rm` of one kind of things.

    Args:
        noun: of the path, `models` for instance.
        what: they are, for the help.
        summary: what all commands of the group do; None where these two are all.
    """
    app = typer.Typer(help=summary or f"List and delete {what}.", no_args_is_help=True)

    @spread
    def ls(
        service: options.ServiceOptions, limit: MostRows = 20, is_json: options.Json = False
    ) -> None:
        from itertools import islice

        from automl_api.client import Client
        from automl_api.commands.results import print_json

        with Client(service.url, service.key) as client:
            found = list(islice(client.list(f"/v1/{noun}"), limit))
        if is_json:
            print_json(found)
            return
        for each in found:
            typer.echo(
                f"{each['id']}  {each['created'][:10]}  {each.get('name', '')}  {_told(each)}"
            )

    @spread
    def rm(
        identity: Annotated[str, typer.Argument(metavar="ID")],
        service: options.ServiceOptions,
        is_json: options.Json = False,
    ) -> None:
        from automl_api.client import Client
        from automl_api.commands.results import say_deleted

        with Client(service.url, service.key) as client:
            client.delete(f"/v1/{noun}/{identity}")
        say_deleted(identity, is_json)

    app.command(help=f"List {what}, the newest first.")(ls)
    app.command(help="Delete for good what nothing else is made of.")(rm)
    return app


def _told(each: Mapping[str, Any]) -> str:
    if "digest" in each:
        return f"of {each['job_id']}, trial {each['trial_number']}" if each["job_id"] else "brought"
    if "format" in each:
        return f"{each['format']}, {each['size_bytes']:,} bytes"
    if "engine" in each:
        return f"{each['engine']}, batch {each['batch']}, {each['processor']}"
    shape = "x".join(map(str, each["input_shape"]))
    return f"{shape}, {each['num_classes']} classes"


def renaming(noun: str, what: str) -> Callable[..., None]:
    """Make the command `rename` of one kind of things."""

    @spread
    def rename(
        identity: Annotated[str, typer.Argument(metavar="ID")],
        name: Annotated[str, typer.Argument(metavar="NAME")],
        service: options.ServiceOptions,
        is_json: options.Json = False,
    ) -> None:
        from automl_api.client import Client
        from automl_api.commands.results import print_json

        with Client(service.url, service.key) as client:
            changed = client.change(f"/v1/{noun}/{identity}", {"name": name})
        if is_json:
            print_json(changed)
        else:
            typer.echo(f"{identity} {changed['name']}")

    rename.__doc__ = f"Give {what} another name."
    return rename


files = group("files", "uploaded files")
targets = group("targets", "latency tables", "Bring, list and delete latency tables.")


@targets.command("push")
@spread
def push_table(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table written by measure-latency.")
    ],
    service: options.ServiceOptions,
    name: Annotated[
        str | None, typer.Option(help="The device; the file's name unless set.")
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Bring a latency table; searches name its id as their --target."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json
    from automl_api.local_latency import read_table

    content = read_table(table).to_json()
    with Client(service.url, service.key) as client:
        made = client.create_target(name or table.stem, content)
    if is_json:
        print_json(made)
    else:
        typer.echo(f"{made['id']}  {made['engine']}, {made['entries']} entries")
