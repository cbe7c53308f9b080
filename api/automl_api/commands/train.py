"""`automl-compress train`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl_api.commands import options, texts
from automl_api.commands.network_options import DataOptions, NetworkOptions
from automl_api.commands.spread import spread

if TYPE_CHECKING:
    from automl_api.local_teacher import TeacherRequest


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


@dataclass(frozen=True)
class TeacherOptions:
    """A network to learn from."""

    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A trained network to learn from beside the labels: a safetensors file that "
            "names its architecture, a .pt2 file, or an architecture's name.",
        ),
    ] = None
    teacher_weights: Annotated[
        Path | None, typer.Option(help="Its trained weights, a safetensors file.")
    ] = None
    teacher_config: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="A field of its architecture's config."),
    ] = None
    distillation_weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of the teacher against the labels; 0.9 unless set."),
    ] = None
    distillation_temperature: Annotated[
        float | None,
        typer.Option(min=0, help="Both networks' logits are divided by it; 4 unless set."),
    ] = None
    distillation_direction: Annotated[
        str | None,
        typer.Option(
            help="forward, which covers the teacher's answers and is the default, or reverse, "
            "which settles on one."
        ),
    ] = None

    def request(self) -> "TeacherRequest | None":
        """Return the teacher and what is learned from it; None without one.

        Raises:
            BadParameter: a teacher's option without a teacher.
            InvalidInput: a value that is not allowed.
        """
        given: dict[str, Any] = {
            "weight": self.distillation_weight,
            "temperature": self.distillation_temperature,
            "direction": self.distillation_direction,
        }
        told = {name: value for name, value in given.items() if value is not None}
        if self.teacher is None and (told or self.teacher_weights or self.teacher_config):
            raise typer.BadParameter(
                "nobody is there to learn from; give --teacher, or leave out --teacher-... and "
                "--distillation-..."
            )
        fields = texts.assignments(self.teacher_config, "--teacher-config")
        if self.teacher is None:
            return None

        from automl_api.local_teacher import TeacherRequest
        from automl_compress.train.config import Distillation

        return TeacherRequest(self.teacher, self.teacher_weights, fields, Distillation(**told))


@spread
def train(
    architecture: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE", help="An architecture's name, or 'demo'.")
    ],
    training: TrainingOptions,
    teaching: TeacherOptions,
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
    if data is None and teaching.teacher is not None:
        raise typer.BadParameter("'demo' has no teacher; train an architecture on DATA")
    teacher = teaching.request()

    from automl_api.local_train import TrainRequest, train_demo, train_network

    if data is None:
        report = train_demo(output, is_silent=is_json)
    else:
        weights = network.weights
        request = TrainRequest(
            architecture, data, output, fields, weights, given, asdict(training), teacher
        )
        report = train_network(request, is_silent=is_json)
    if is_json:
        import json

        typer.echo(json.dumps(report))
        return
    right = f"{report['correct']} of {report['total']} right on {report['split']}"
    typer.echo(f"wrote {report['path']}: {right}")
