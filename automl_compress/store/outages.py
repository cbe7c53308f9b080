"""What an error of a database's driver means: it is away, it takes nothing, or we asked wrongly."""

import sqlite3

from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError


def is_storage_failure(error: DBAPIError) -> bool:
    """Say whether the storage is the reason, rather than what was to be stored."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return (
        isinstance(error, OperationalError | InterfaceError)
        or type(error) is DatabaseError  # SQLite: the file is no database, or is damaged
        or error.connection_invalidated
        or state.startswith(("08", "53", "57"))  # connection, resources, shutdown
        or state == "25006"  # read-only
    )


def is_away(error: DBAPIError) -> bool:
    """Say whether the database does not answer, or is too busy, rather than full or read-only."""
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    state = str(getattr(error.orig, "sqlstate", None) or "")
    no_answer = not state or error.connection_invalidated
    return no_answer or state == "53300" or state.startswith(("08", "55", "57"))
