"""`automl-compress evaluate`."""

from enum import StrEnum
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.following import Following
from automl_api.commands.spread import spread


class SplitChoice(StrEnum):
    """The images that are scored."""

    TEST = "test"
    SEARCH = "search"
    TRAIN = "train"
    ALL = "all"


@spread
def evaluate(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="The id of a stored policy.")],
    data: options.DataArgument,
    service: options.ServiceOptions,
    split: Annotated[SplitChoice, typer.Option(help="Which of the images.")] = SplitChoice.TEST,
    timeout: options.Timeout = None,
    is_json: options.Json = False,
) -> None:
    """Score a policy's network, and the uncut one, on other data than it was found on."""
    from automl_api.client import Client
    from automl_api.commands.inputs import register_data
    from automl_api.commands.results import finish

    with Client(service.url, service.key) as client:
        data_id = register_data(client, data, {})
        job = client.evaluate(policy, data_id, split=split.value)
        finish(job, Following(is_waiting=True, timeout=timeout), is_json=is_json)
