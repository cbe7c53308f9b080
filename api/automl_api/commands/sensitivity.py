"""`automl-compress sensitivity`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def sensitivity(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model id.")],
    service: options.ServiceOptions,
    data: Annotated[
        str | None, typer.Option("--data", help="A data set id; the best profiled one unless set.")
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Show what cutting each group of a network alone costs, as its jobs measured it."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        profile = client.sensitivity(model, dataset_id=data)
    if is_json:
        print_json(profile)
    else:
        _print_profile(profile)


def _print_profile(profile: Mapping[str, Any]) -> None:
    """Print the accuracy at each tenth of sparsity, the nearest measured point in each."""
    from rich.console import Console
    from rich.table import Table

    rows = [
        (curve, {round(10 * each["sparsity"]): each["accuracy"] for each in curve["points"]})
        for curve in profile["groups"]
    ]
    tenths = sorted({tenth for _, row in rows for tenth in row})
    table = Table(box=None, pad_edge=False)
    table.add_column("group", no_wrap=True)
    for title in ("channels", *(f"{tenth * 10}%" for tenth in tenths)):
        table.add_column(title, justify="right", no_wrap=True)
    for curve, row in rows:
        cells = [f"{row[tenth]:.1%}" if tenth in row else "" for tenth in tenths]
        table.add_row(curve["group"], str(curve["channels"]), *cells)
    # Groups' names are as long as module paths; a narrow terminal breaks the lines instead.
    console = Console(highlight=False, width=max(Console().width, 60 + 8 * len(tenths)))
    uncut = profile["uncut"]
    shown = "" if uncut is None else f"; nothing cut: {uncut['accuracy']:.1%}"
    console.print(
        f"accuracy on {profile['images']} images with this share of one group removed{shown}",
        markup=False,
    )
    console.print(table)
