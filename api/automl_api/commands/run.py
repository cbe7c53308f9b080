"""`automl-compress run`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.network_options import DataOptions, NetworkOptions
from automl_api.commands.space_choices import SpaceChoices
from automl_api.commands.spread import spread


@spread
def run(
    model: options.NewModelArgument,
    data: options.NewDataArgument,
    budget: options.BudgetOptions,
    study: options.StudyOptions,
    space: SpaceChoices,
    network: NetworkOptions,
    images: DataOptions,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that gets policy and network.")
    ] = Path("compressed"),
    is_json: options.Json = False,
) -> None:
    """Do the same search as `search` on this machine, without a service."""
    wanted: dict[str, Any] = {**study.body(budget), "space": space.body()}
    fields, given = network.fields(), images.data_options()

    from automl_api.threads import prefer_one_thread

    prefer_one_thread()  # before anything can import torch

    from automl_agents.catalogue import complete_recipe
    from automl_api.commands.inputs import read_data, read_model
    from automl_api.commands.local import run_and_show
    from automl_api.local_run import RunRequest
    from automl_compress.core import StudySpec

    wanted["recipe"] = complete_recipe(wanted["searcher"], wanted["recipe"])
    told = read_model(model, network.weights, fields, network.scored_output)
    request = RunRequest(
        name=told.name,
        model=told.source,
        data=read_data(data, given, told.normalisation),
        study=StudySpec.from_json(wanted),
        output=output,
    )
    run_and_show(request, is_json=is_json)
