"""`automl-compress demo`."""

from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import options, texts


def demo(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="Where the demo's service and results lie.")
    ] = Path("automl-compress-demo"),
    evaluations: Annotated[
        int, typer.Option("--evaluations", min=1, help="Of the AMC search.")
    ] = 120,
    ratio: Annotated[str, typer.Option("--max-macs", help="The MACs to keep: 50% or 0.5.")] = "50%",
    is_kept: Annotated[
        bool, typer.Option("--keep", help="Leave the service up until Ctrl-C.")
    ] = False,
    is_json: options.Json = False,
) -> None:
    """Search a policy for a real network through the real service, in under two minutes."""
    kept_ratio = texts.ratio(ratio, "--max-macs")

    from automl_api.demo import DemoOptions, run_demo

    run_demo(
        DemoOptions(
            data_dir=data_dir,
            evaluations=evaluations,
            macs_ratio=kept_ratio,
            is_kept=is_kept,
            is_json=is_json,
        )
    )
