"""The revision of the tables: brought up by Alembic, and checked before anything is read."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from automl_compress.core.errors import WrongState

VERSION_TABLE = "compress_alembic_version"
UPGRADE_LOCK = 0x636F6D7072657373  # "compress": PostgreSQL's advisory lock of upgrades


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the missing migrations inside the caller's transaction.

    Raises:
        WrongState: the database is newer than this version of the project.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
    refuse_newer(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def check(connection: Connection) -> None:
    """Make sure that the tables are this version's.

    Raises:
        WrongState: they are missing, older or newer.
    """
    refuse_newer(connection)
    found = current_revision(connection)
    if found != head_revision():
        state = "has no tables yet" if found is None else f"is at revision {found}"
        raise WrongState(
            f"the database {state}, this version needs revision {head_revision()}; "
            "start `automl-compress serve` or `automl-compress worker` once, they upgrade it"
        )


def refuse_newer(connection: Connection) -> None:
    """Make sure that no newer version of the project has brought up the tables.

    Raises:
        WrongState: this version does not know their revision.
    """
    found = current_revision(connection)
    if found is not None and found not in known_revisions():
        raise WrongState(
            f"the database is at revision {found}, which this version does not know (it knows "
            f"up to {head_revision()}); install the newer version of automl-compress that "
            "wrote it, or choose another database"
        )


def current_revision(connection: Connection) -> str | None:
    """Return the revision that the database is at; None before the first upgrade."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def head_revision() -> str:
    """Return the revision of this version of the project."""
    return known_revisions()[-1]


@cache
def known_revisions() -> tuple[str, ...]:
    """Return every revision, the first one first."""
    revisions = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(each.revision for each in revisions)[::-1]


def _config() -> Config:
    config = Config()
    location = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
