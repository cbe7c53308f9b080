"""`automl-compress micronet`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from automl_agents.names import SEARCHER_NAMES
from automl_api.commands import options, texts
from automl_api.commands.following import Following
from automl_api.commands.network_options import DataOptions, NetworkOptions
from automl_api.commands.spread import spread


@dataclass(frozen=True)
class StageOptions:
    """Ratios and bits, by hand or searched, and how the stages train."""

    searcher: Annotated[
        str,
        typer.Option(
            help="micronet takes the winners' ratios and bits; to search them, one of: "
            f"{', '.join(name for name in SEARCHER_NAMES if name != 'micronet')}."
        ),
    ] = "micronet"
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the searcher.")
    ] = None
    by_hand: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Another value than the winners': sparsity=0.6, weight_bits=5.",
        ),
    ] = None
    evaluations: Annotated[
        float, typer.Option(min=1, help="What the search, or the profile, may cost.")
    ] = 100.0
    share: Annotated[
        str | None,
        typer.Option(help="Of the hand-set score, for a search; 95% unless set; as 95%,80%."),
    ] = None
    floor_points: Annotated[
        float, typer.Option(min=0, max=100, help="Points of accuracy that may be lost.")
    ] = 2.0
    finetune_epochs: Annotated[
        int, typer.Option(min=1, help="Of each of the three stages that train.")
    ] = 2
    precision: Annotated[str, typer.Option(help="Of the training: float32 or bfloat16.")] = (
        "float32"
    )
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Search images that score a candidate; all unless set."),
    ] = None
    parallelism: Annotated[int, typer.Option(min=1, help="Evaluations at once.")] = 1
    seed: options.Seed = 0

    def body(self) -> dict[str, Any]:
        """Write them as `POST /v1/models/{id}/micronet` takes them."""
        body: dict[str, Any] = {
            "searcher": self.searcher,
            "evaluations": self.evaluations,
            "floor_points": self.floor_points,
            "finetune_epochs": self.finetune_epochs,
            "precision": self.precision,
            "parallelism": self.parallelism,
            "seed": self.seed,
            "searcher_options": texts.assignments(self.option, "--option"),
            "hand_set": texts.assignments(self.by_hand, "--by-hand"),
        }
        if self.share is not None:
            body["shares"] = [texts.ratio(part, "--share") for part in self.share.split(",")]
        if self.images is not None:
            body["recipe"] = {"signal": "kl", "images": self.images}
        return body


@spread
def micronet(
    model: options.ModelArgument,
    data: options.DataArgument,
    stages: StageOptions,
    network: NetworkOptions,
    images: DataOptions,
    service: options.ServiceOptions,
    listed: options.JobOptions,
    following: Following,
    is_json: options.Json = False,
) -> None:
    """Submit that MODEL goes through the stages of the MicroNet Challenge's winners."""
    wanted = {**stages.body(), **listed.body()}
    given = images.data_options()

    from automl_api.client import Client
    from automl_api.commands.inputs import known_options, register_data, register_model
    from automl_api.commands.results import finish

    with Client(service.url, service.key) as client:
        known = known_options(model, network.weights)
        model_id = register_model(client, model, network)
        dataset_id = register_data(client, data, {**known, **given})
        job = client.micronet(model_id, dataset_id, **wanted)
        finish(job, following, is_json=is_json)


@spread
def stages(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    service: options.ServiceOptions,
    is_sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Instead: what changing one layer alone cost."),
    ] = False,
    is_json: options.Json = False,
) -> None:
    """List the finished stages of a job under the recipe micronet."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        if is_sensitivity:
            _print_sensitivity(client.job(job).layer_sensitivity(), is_json)
            return
        found = client.job(job).stages()
    if is_json:
        print_json(found)
        return
    typer.echo(f"{'network':<10} {'stage':<12} {'score':>12} {'accuracy':>9} {'seconds':>8}")
    for each in found:
        number = each["trial_number"]
        network = "uncut" if number is None else f"trial {number}"
        typer.echo(
            f"{network.replace(' ', '-'):<10} {each['stage']:<12} {each['micronet'] / 1e9:>12.6f} "
            f"{each['accuracy']:>9.2%} {each['wall_seconds']:>8.1f}"
        )


def _print_sensitivity(told: Mapping[str, Any], is_json: bool) -> None:
    from automl_api.commands.results import print_json

    if is_json:
        print_json(told)
        return
    typer.echo(f"nothing changed: {told['unchanged']:.2%} of {told['images']} images")
    width = max(len(point["layer"]) for point in told["points"])
    for point in told["points"]:
        what = point["decision"].replace("_", " ")
        typer.echo(
            f"{point['layer']:<{width}}  {what:<15} {point['value']:>4} {point['accuracy']:>8.2%}"
        )
