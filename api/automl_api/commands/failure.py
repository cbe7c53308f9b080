"""From an error to what is printed and the exit code."""

import json
from typing import Any, cast

import typer

from automl_api.transport import ProblemError, ServiceUnreachable, TookTooLong
from automl_compress.core.errors import AutomlCompressError, InvalidInput, NotFound

JOB_FAILED, USAGE, REFUSED, TOO_LONG = 1, 2, 3, 4
# Click's, which some versions of Typer bring along under a name of their own.
UsageError = typer.BadParameter.__bases__[0]


class JobFailed(AutomlCompressError):
    """A job ended without a result."""


def report(error: Exception, *, is_json: bool) -> int:
    """Print an error to standard error and return the exit code; raises what it does not know.

    Wrong usage comes here as JSON alone: otherwise Typer prints it, with the command's usage.
    """
    if isinstance(error, UsageError) and is_json:
        detail = cast("typer.BadParameter", error).format_message()
        told = {"kind": "UsageError", "detail": detail}
        typer.echo(json.dumps({"error": told}), err=True)
        return USAGE
    if not isinstance(error, AutomlCompressError):
        raise error
    code = exit_code(error)
    if is_json:
        typer.echo(json.dumps({"error": _content(error)}), err=True)
    else:
        typer.echo(f"error: {error}", err=True)
        if isinstance(error, ProblemError):
            for each in error.errors[1:]:
                where = each.get("pointer") or each.get("parameter")
                typer.echo(f"  {where}: {each['detail']}", err=True)
    return code


def exit_code(error: AutomlCompressError) -> int:
    """Return the exit code of an error."""
    if isinstance(error, ProblemError | ServiceUnreachable):
        return REFUSED
    if isinstance(error, TookTooLong):
        return TOO_LONG
    return USAGE if isinstance(error, InvalidInput | NotFound) else JOB_FAILED


def _content(error: AutomlCompressError) -> dict[str, Any]:
    if isinstance(error, ProblemError):
        return error.document
    return {"kind": type(error).__name__, "detail": str(error)}
