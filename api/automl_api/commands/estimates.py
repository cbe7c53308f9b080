"""What `search --estimate` prints."""

from collections.abc import Mapping
from typing import Any

import typer

from automl_api.commands.results import print_json


def print_estimate(told: Mapping[str, Any], *, is_json: bool) -> None:
    """Print what a job would have to do."""
    if is_json:
        print_json(told)
        return
    typer.echo(f"decisions        {told['decisions']}")
    if told["limit"] is None:
        typer.echo("budget           not known yet: a worker measures the target's table first")
    else:
        _print_reach(told, told["metric"])
    typer.echo(f"search           {_seconds(told['seconds'])}")
    typer.echo(f"accuracy         {_accuracy(told['accuracy'])}")
    typer.echo(f"disk             at most {told['disk_bytes'] / 2**20:,.1f} MiB of files")
    typer.echo(f"jobs ahead       {told['jobs_ahead']}")


def _print_reach(told: Mapping[str, Any], metric: str) -> None:
    full, smallest, limit = told["uncut"][metric], told["smallest"][metric], told["limit"]
    reach = "within reach" if told["is_reachable"] else "out of reach: raise it"
    typer.echo(f"budget           {limit:,} {metric}, {reach}")
    typer.echo(f"smallest policy  {smallest:,} {metric} ({smallest / full:.1%} of {full:,})")


def _seconds(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "nothing is known: no job on this network has evaluated anything yet"
    data = "these data" if told["is_same_data"] else "other data"
    return (
        f"{told['low']:.0f} to {told['high']:.0f} s, by {told['jobs']} jobs on this network and "
        f"{data}; confirming comes on top"
    )


def _accuracy(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "nothing is known: no job on this network and these data has evaluated anything yet"
    kinds = {
        "searched": "measured within the budget before tuning",
        "confirmed": "confirmed within it on test images",
        "uncut": "the uncut network",
    }
    known = [f"{told[kind]:.2%} {says}" for kind, says in kinds.items() if told[kind] is not None]
    return ", ".join(known)
