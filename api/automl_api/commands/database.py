"""`automl-compress db`."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread

if TYPE_CHECKING:
    from automl_api.settings import Settings
    from automl_compress.store import Database

app = typer.Typer(help="The tables and files of the service.", no_args_is_help=True)


@app.command()
@spread
def upgrade(place: options.PlaceOptions, is_json: options.Json = False) -> None:
    """Bring the tables to this version's revision."""
    from automl_api.engine import migrate

    with _opened(place) as (settings, database):
        database.upgrade()
        migrate(settings)
    _say_revision(is_json)


@app.command()
@spread
def check(place: options.PlaceOptions, is_json: options.Json = False) -> None:
    """Say whether the tables are of this version, and tables and files agree."""
    from automl_compress.store import consistency

    with _opened(place) as (settings, database):
        database.check()
        with database.reading() as session:
            found = consistency.violations(session, settings.data_dir)
    if is_json:
        _say_revision(is_json, violations=[each.to_json() for each in found])
    else:
        _say_revision(is_json)
        for each in found:
            typer.echo(f"{each.subject}: {each.detail} (rule: {each.rule})")
        typer.echo(f"{len(found)} violations of {len(consistency.RULES) + 1} rules")
    if found:
        raise typer.Exit(1)


@app.command()
@spread
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    place: options.PlaceOptions,
    is_json: options.Json = False,
) -> None:
    """Write all tables and files into one file, while the service goes on."""
    from automl_compress.store import backup as backups

    with _opened(place) as (settings, database):
        backups.backup(database, settings.data_dir, file)
    size_bytes = file.stat().st_size
    told = {"file": str(file), "size_bytes": size_bytes}
    typer.echo(json.dumps(told) if is_json else f"{file}: {size_bytes:,} bytes")


@app.command()
@spread
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `db backup` wrote.")],
    place: options.PlaceOptions,
    is_json: options.Json = False,
) -> None:
    """Fill an empty database and data directory, of either kind, from a backup."""
    from automl_api.engine import migrate
    from automl_compress.store import backup as backups

    with _opened(place) as (settings, database):
        backups.restore(file, database, settings.data_dir)
        migrate(settings)
    _say_revision(is_json)


@contextmanager
def _opened(place: options.PlaceOptions) -> "Generator[tuple[Settings, Database]]":
    from automl_api.serving import read_settings
    from automl_compress.store import Database

    settings = read_settings(**asdict(place))
    database = Database(settings.tables_url)
    try:
        yield settings, database
    finally:
        database.close()


def _say_revision(is_json: bool, **more: Any) -> None:
    from automl_compress.store.schema import head_revision

    told = {"revision": head_revision(), **more}
    typer.echo(json.dumps(told) if is_json else f"revision {told['revision']}")
