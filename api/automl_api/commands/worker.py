"""`automl-compress worker`."""

from dataclasses import asdict
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def worker(
    place: options.PlaceOptions,
    is_with_parent: Annotated[
        bool, typer.Option("--with-parent", hidden=True, help="End when standard input does.")
    ] = False,
    log_format: options.LogFormatOption = None,
    is_json: options.Json = False,
) -> None:
    """Take jobs from the queue until told to stop."""
    from automl_api.threads import prefer_one_thread

    prefer_one_thread()  # before anything can import torch

    from automl_api.engine import serve_worker
    from automl_api.logs import set_up_logs
    from automl_api.serving import end_with_parent, read_settings

    settings = read_settings(log_format="json" if is_json else log_format, **asdict(place))
    set_up_logs(settings.log_format, settings.log_level)
    if is_with_parent:
        end_with_parent()
    serve_worker(settings)
