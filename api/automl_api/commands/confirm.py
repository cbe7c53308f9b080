"""`automl-compress confirm`."""

from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.following import Following
from automl_api.commands.spread import spread


@spread
def confirm(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A search that has ended.")],
    trial: Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="Its number.")],
    service: options.ServiceOptions,
    following: Following,
    finetune_epochs: Annotated[
        int | None, typer.Option(min=0, help="As in the search unless set.")
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(help="Files for engines: onnx,openvino,pt2,bundle; none. As in the search."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What lists call the job.")] = None,
    is_json: options.Json = False,
) -> None:
    """Confirm another trial of a search: cut, tune, and score it once on the test images."""
    from automl_api.client import Client
    from automl_api.commands.results import finish

    wanted = None
    if formats is not None:
        wanted = [] if formats == "none" else formats.split(",")
    with Client(service.url, service.key) as client:
        found = client.job(job)
        made = found.confirm(trial, finetune_epochs=finetune_epochs, formats=wanted, name=name)
        finish(made, following, is_json=is_json)
