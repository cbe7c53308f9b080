"""`automl-compress train`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from automl_api.commands import options
from automl_api.commands.network_options import DataOptions, NetworkOptions
from automl_api.commands.spread import spread


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained."""

    epochs: Annotated[int, typer.Option(min=1)] = 30
    batch_size: Annotated[int, typer.Option(min=2)] = 128
    learning_rate: Annotated[float, typer.Option(min=0)] = 0.1
    schedule: Annotated[str, typer.Option(help="one-cycle, cosine or linear.")] = "one-cycle"
    momentum: Annotated[float, typer.Option(min=0, help="Of Nesterov; 0: none.")] = 0.9
    weight_decay: Annotated[float, typer.Option(min=0)] = 5e-4
    label_smoothing: Annotated[float, typer.Option(min=0)] = 0.0
    holdout_images: Annotated[
        int, typer.Option(min=0, help="Of the train split, that early stopping watches.")
    ] = 0
    early_stop_patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many epochs without a better held-out accuracy."),
    ] = None
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16 where the processor multiplies it.")
    ] = "float32"
    seed: Annotated[int, typer.Option(min=0, help="Of first weights, order and augmentation.")] = 0


@spread
def train(
    architecture: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE", help="An architecture's name, or 'demo'.")
    ],
    training: TrainingOptions,
    network: NetworkOptions,
    images: DataOptions,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A name or a path.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the weights go, a safetensors file.")
    ] = Path("network.safetensors"),
    is_json: options.Json = False,
) -> None:
    """Train a network of the zoo, and report its accuracy on the search split.

    'demo' alone makes the checkpoint that ships with the package. Killed and called again, the
    training goes on behind its last whole epoch.
    """
    fields, given = network.fields(), images.data_options()
    if architecture != "demo" and data is None:
        raise typer.BadParameter("DATA is missing; give digits, fashion-mnist or a path")

    from automl_api.local_train import TrainRequest, train_demo, train_network

    if data is None:
        report = train_demo(output, is_silent=is_json)
    else:
        weights = network.weights
        request = TrainRequest(architecture, data, output, fields, weights, given, asdict(training))
        report = train_network(request, is_silent=is_json)
    if is_json:
        import json

        typer.echo(json.dumps(report))
        return
    right = f"{report['correct']} of {report['total']} right on {report['split']}"
    typer.echo(f"wrote {report['path']}: {right}")
