"""`automl-compress search`."""

from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.following import Following
from automl_api.commands.network_options import DataOptions, NetworkOptions
from automl_api.commands.space_choices import SpaceChoices
from automl_api.commands.spread import spread


@spread
def search(
    model: options.ModelArgument,
    data: options.DataArgument,
    budget: options.BudgetOptions,
    study: options.StudyOptions,
    space: SpaceChoices,
    network: NetworkOptions,
    images: DataOptions,
    service: options.ServiceOptions,
    listed: options.JobOptions,
    following: Following,
    is_estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it would take; submit nothing.")
    ] = False,
    is_json: options.Json = False,
) -> None:
    """Submit a search to the service: MODEL is compressed for DATA within the budget."""
    wanted: dict[str, Any] = {**study.body(budget), "space": space.body()}
    given = images.data_options()

    from automl_api.client import Client
    from automl_api.commands.estimates import print_estimate
    from automl_api.commands.inputs import known_options, register_data, register_model
    from automl_api.commands.results import finish

    with Client(service.url, service.key) as client:
        known = known_options(model, network.weights)
        body = {
            "model_id": register_model(client, model, network),
            "dataset_id": register_data(client, data, {**known, **given}),
            "study": wanted,
            **listed.body(),
        }
        if is_estimate:
            print_estimate(client.estimate(body), is_json=is_json)
            return
        finish(client.submit(body), following, is_json=is_json)
