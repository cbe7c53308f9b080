"""`automl-compress db`."""

from dataclasses import asdict

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread

app = typer.Typer(help="The tables of the service.", no_args_is_help=True)


@app.command()
@spread
def upgrade(
    place: options.PlaceOptions,
    is_json: options.Json = False,
) -> None:
    """Bring the tables to this version's revision."""
    from automl_api.engine import migrate
    from automl_api.serving import read_settings
    from automl_compress.store import Database
    from automl_compress.store.schema import head_revision

    settings = read_settings(**asdict(place))
    database = Database(settings.tables_url)
    try:
        database.upgrade()
        migrate(settings)
    finally:
        database.close()
    _say(head_revision(), is_json)


@app.command()
@spread
def check(
    place: options.PlaceOptions,
    is_json: options.Json = False,
) -> None:
    """Say whether the tables are of this version."""
    from automl_api.serving import read_settings
    from automl_compress.store import Database
    from automl_compress.store.schema import head_revision

    settings = read_settings(**asdict(place))
    database = Database(settings.tables_url)
    try:
        database.check()
    finally:
        database.close()
    _say(head_revision(), is_json)


def _say(revision: str, is_json: bool) -> None:
    import json

    typer.echo(json.dumps({"revision": revision}) if is_json else f"revision {revision}")
