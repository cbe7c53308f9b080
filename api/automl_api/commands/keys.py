"""`automl-compress keys`: on the tables of this machine's service, which need not run."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread

if TYPE_CHECKING:
    from automl_compress.store import Database

app = typer.Typer(help="Who may use the service: keys of accounts.", no_args_is_help=True)


@app.command()
@spread
def create(
    account: Annotated[str, typer.Argument(help="On whose behalf the key acts: a team or person.")],
    place: options.PlaceOptions,
    scope: Annotated[
        str,
        typer.Option(
            help="read: looks at the account's things; write: also makes them; admin: sees those "
            "of all accounts, and the keys."
        ),
    ] = "write",
    name: Annotated[str | None, typer.Option(help="What lists call it.")] = None,
    is_json: options.Json = False,
) -> None:
    """Make a key. It is shown this once, and kept as a digest alone."""
    from automl_api.commands.results import print_json
    from automl_api.keys.caller import SCOPES
    from automl_api.keys.doorkeeper import new_secret
    from automl_api.keys.schemas import NewKey, key_body
    from automl_compress.core.errors import UnknownName
    from automl_compress.store import keys

    if scope not in SCOPES:
        raise UnknownName("scope", scope, SCOPES)
    _check_account(account)
    new = NewKey(account=account, scope=scope, name=name)
    secret = new_secret()
    with _tables(place) as tables, tables.session() as session:
        row = keys.add(
            session, secret, account=new.account, scope=new.scope, name=new.name or new.account
        )
    if is_json:
        print_json({**key_body(row).model_dump(mode="json"), "key": secret})
        return
    typer.echo(secret)
    typer.echo(
        f"{row.id}: {scope} for account {account}; shown this once. It is one of the service on "
        f"{_address(place)}, which asks for keys where it runs with AUTOML_COMPRESS_KEY, the "
        "operator's own.",
        err=True,
    )


@app.command("list")
@spread
def list_keys(place: options.PlaceOptions, is_json: options.Json = False) -> None:
    """List the keys, the newest first."""
    from automl_api.commands.results import print_json
    from automl_api.keys.schemas import key_body
    from automl_compress.store import keys
    from automl_compress.store.paging import LARGEST_PAGE

    with _tables(place) as tables, tables.reading() as session:
        rows = keys.page(session, limit=LARGEST_PAGE).rows
    if is_json:
        print_json([key_body(row).model_dump(mode="json") for row in rows])
        return
    for row in rows:
        state = "revoked" if row.revoked_at else row.scope
        typer.echo(f"{row.id}  {row.account:<20} {state:<8} {row.created_at:%Y-%m-%d}  {row.name}")


@app.command()
@spread
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY_ID")],
    place: options.PlaceOptions,
    is_json: options.Json = False,
) -> None:
    """End a key, and the browser sessions that it opened; from the next request on."""
    from automl_api.commands.results import print_json
    from automl_api.keys.schemas import key_body
    from automl_compress.store import keys

    with _tables(place) as tables, tables.session() as session:
        row = keys.revoke(session, key)
    if is_json:
        print_json(key_body(row).model_dump(mode="json"))
    else:
        typer.echo(f"{row.id} revoked")


def _check_account(account: str) -> None:
    import re

    from automl_api.keys.schemas import ACCOUNT_PATTERN
    from automl_compress.core.errors import InvalidInput

    if not re.fullmatch(ACCOUNT_PATTERN, account):
        raise InvalidInput(
            f"an account cannot be called {account!r}; give 1 to 50 of a-z, 0-9, '.', '_' and "
            "'-', a letter or digit first"
        )


def _address(place: options.PlaceOptions) -> str:
    """Say which tables are meant; the data directory of another service is easily taken."""
    from sqlalchemy import make_url

    from automl_api.serving import read_settings

    return make_url(read_settings(**asdict(place)).tables_url).render_as_string()


@contextmanager
def _tables(place: options.PlaceOptions) -> "Generator[Database]":
    from automl_api.serving import read_settings
    from automl_compress.store import Database

    tables = Database(read_settings(**asdict(place)).tables_url)
    try:
        tables.upgrade()
        yield tables
    finally:
        tables.close()
