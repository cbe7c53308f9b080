"""`automl-compress serve`."""

from dataclasses import asdict
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread


@spread
def serve(
    place: options.PlaceOptions,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="8000 unless set; 0: any free.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Loopback unless a key is set and this too.")
    ] = None,
    has_no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no key; on loopback only.")
    ] = False,
    has_no_worker: Annotated[
        bool, typer.Option("--no-worker", help="HTTP only; start workers elsewhere.")
    ] = False,
    is_with_parent: Annotated[
        bool, typer.Option("--with-parent", hidden=True, help="End when standard input does.")
    ] = False,
    log_format: options.LogFormatOption = None,
    is_json: options.Json = False,
) -> None:
    """Run the HTTP interface and one worker."""
    from automl_api.logs import set_up_logs
    from automl_api.serving import ServeOptions, end_with_parent, read_settings, serve_forever

    settings = read_settings(host=host, port=port, log_format=log_format, **asdict(place))
    set_up_logs(settings.log_format, settings.log_level)
    if has_no_auth:
        settings = settings.model_copy(update={"key": None})
    if is_with_parent:
        end_with_parent()
    serve_forever(settings, ServeOptions(has_worker=not has_no_worker, is_json=is_json))
