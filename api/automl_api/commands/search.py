"""`automl-compress search`."""

from typing import Annotated, Any

import typer

from automl_api.commands import options
from automl_api.commands.network_options import NetworkOptions
from automl_api.commands.spread import spread


@spread
def search(
    model: options.ModelArgument,
    data: options.DataArgument,
    budget: options.BudgetOptions,
    study: options.StudyOptions,
    space: options.SpaceChoices,
    network: NetworkOptions,
    service: options.ServiceOptions,
    name: Annotated[str | None, typer.Option("--name", help="What lists call the job.")] = None,
    is_estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it would take; submit nothing.")
    ] = False,
    is_watching: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    is_waiting: Annotated[bool, typer.Option("--wait", help="Wait silently.")] = False,
    timeout: options.Timeout = None,
    is_json: options.Json = False,
) -> None:
    """Submit a search to the service: MODEL is compressed for DATA within the budget."""
    wanted: dict[str, Any] = {**study.body(budget), "space": space.body()}
    fields, given = network.fields(), network.data_options()

    from automl_api.client import Client
    from automl_api.commands.estimates import print_estimate
    from automl_api.commands.inputs import known_options, register_data, register_model
    from automl_api.commands.results import finish

    with Client(service.url, service.key) as client:
        known = known_options(model, network.weights)
        body = {
            "model_id": register_model(client, model, network.weights, fields),
            "dataset_id": register_data(client, data, {**known, **given}),
            "study": wanted,
            **({} if name is None else {"name": name}),
        }
        if is_estimate:
            print_estimate(client.estimate(body), is_json=is_json)
            return
        job = client.submit(body)
        finish(
            job, is_watching=is_watching, is_waiting=is_waiting, timeout=timeout, is_json=is_json
        )
