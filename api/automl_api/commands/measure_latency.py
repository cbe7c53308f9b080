"""`automl-compress measure-latency`."""

from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import options, texts
from automl_api.commands.spread import spread
from automl_compress.targets import TARGETS


@spread
def measure_latency(
    model: options.NewModelArgument,
    target: Annotated[str, typer.Option(help=f"One of: {', '.join(TARGETS)}.")] = TARGETS[0],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the table goes.")] = Path(
        "latency.json"
    ),
    weights: Annotated[
        Path | None, typer.Option(help="Trained weights, where the file names the config.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="A field of the architecture's config."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images of one call.")] = 1,
    round_to: Annotated[int, typer.Option(help="Only multiples of 1, 2, 4, 8 or 16.")] = 1,
    has_int8: Annotated[bool, typer.Option("--int8", help="Layers in int8 too.")] = False,
    is_json: options.Json = False,
) -> None:
    """Measure what a network's layers take on this machine, for searches on another one.

    Needs no server. Bring the table with `automl-compress targets push`, and search with
    `--target ID --max-latency 50%`.
    """
    from automl_api.commands.inputs import read_model
    from automl_api.commands.results import print_json
    from automl_api.local_latency import MeasureRequest, measure_file

    source = read_model(model, weights, texts.assignments(config, "--config")).source
    typer.echo("measuring; a minute or two ...", err=True)
    table = measure_file(MeasureRequest(source, target, batch, round_to, output, has_int8))
    errors = sorted(abs(told / found - 1) for told, found in table.calibration.checks)
    if is_json:
        print_json({"output": str(output), "entries": table.entries, "errors": errors})
        return
    typer.echo(
        f"wrote {output}: {table.entries} entries; {len(errors)} whole networks predicted within "
        f"{errors[len(errors) // 2]:.1%} (median), {errors[-1]:.1%} at worst"
    )
