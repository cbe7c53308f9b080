"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from automl_agents.names import SEARCHER_NAMES
from automl_api.commands import texts
from automl_api.commands.confirmation_options import ConfirmationOptions
from automl_compress.targets import TARGETS

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Wait at most so many seconds.")
]
LogFormatOption = Annotated[
    str | None, typer.Option("--log-format", help="text, or json: an object a line.")
]
Seed = Annotated[int, typer.Option("--seed", min=0)]
AccuracyFloor = Annotated[
    str | None,
    typer.Option(
        "--accuracy-floor",
        help="Search the least cost at this accuracy: 90% or 0.9, on search images, before "
        "tuning; --max-... is what it may cost at most. With auto, amc, agmc or haq.",
    ),
]
_MODEL_FORMS = (
    "an architecture's name, a safetensors file that names its own, or a .pt2 file of torch.export."
)
_DATA_FORMS = (
    "a built-in name, an npz or parquet file, a zip archive or a folder of class folders, or a "
    "folder with train.parquet and test.parquet."
)
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=f"A model id, {_MODEL_FORMS}")]
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help=f"A data set id, {_DATA_FORMS}")]
NewModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=_MODEL_FORMS[0].upper() + _MODEL_FORMS[1:])
]
NewDataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help=_DATA_FORMS[0].upper() + _DATA_FORMS[1:])
]


NewTags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME:VALUE", help="By which lists find the job."),
]
Priority = Annotated[
    int | None,
    typer.Option(help="Waiting jobs of a higher one are taken first; above 0 for administrators."),
]


def read_floor(text: str) -> float:
    """Read an accuracy floor."""
    return texts.ratio(text, "--accuracy-floor", "a share of the images")


@dataclass(frozen=True)
class JobOptions:
    """How a job is listed and queued."""

    name: Annotated[str | None, typer.Option("--name", help="What lists call the job.")] = None
    tag: NewTags = None
    priority: Priority = None

    def body(self) -> dict[str, Any]:
        """Write what was given as `POST /v1/jobs` takes it."""
        told = {"name": self.name, "tags": texts.tags(self.tag), "priority": self.priority}
        return {each: value for each, value in told.items() if value not in (None, {})}


@dataclass(frozen=True)
class ServiceOptions:
    """Which service a command talks to."""

    url: Annotated[
        str | None, typer.Option(envvar="AUTOML_COMPRESS_URL", help="The service's address.")
    ] = None
    key: Annotated[
        str | None, typer.Option(envvar="AUTOML_COMPRESS_KEY", help="The service's key.")
    ] = None


@dataclass(frozen=True)
class PlaceOptions:
    """Where a service of this machine keeps its tables and files."""

    data_dir: Annotated[
        Path | None, typer.Option(envvar="AUTOML_COMPRESS_DATA_DIR", help="Where files lie.")
    ] = None
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="AUTOML_COMPRESS_DATABASE_URL",
            help="A SQLAlchemy URL; SQLite in the data directory unless set.",
        ),
    ] = None


@dataclass(frozen=True)
class BudgetOptions:
    """What a compressed network may keep."""

    max_macs: Annotated[
        str | None,
        typer.Option(help="The MACs to keep: 50% or 0.5; several budgets as 50%,40%,30%."),
    ] = None
    max_parameters: Annotated[str | None, typer.Option(help="The parameters to keep, instead.")] = (
        None
    )
    max_bytes: Annotated[str | None, typer.Option(help="The stored bytes to keep, instead.")] = None
    max_bit_operations: Annotated[
        str | None, typer.Option(help="The bit operations to keep, instead.")
    ] = None
    max_micronet: Annotated[
        str | None, typer.Option(help="The MicroNet score to keep, instead.")
    ] = None

    max_latency: Annotated[
        str | None, typer.Option(help="The latency on --target to keep, instead.")
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether any budget came."""
        return any(text is not None for text in self._told().values())

    def required(self) -> tuple[dict[str, Any], list[float]]:
        """Return the one budget that must have come, and the smaller ratios after its commas."""
        return texts.budgets(self._told())

    def _told(self) -> dict[str, str | None]:
        return {
            "macs": self.max_macs,
            "parameters": self.max_parameters,
            "size_bytes": self.max_bytes,
            "bit_operations": self.max_bit_operations,
            "micronet": self.max_micronet,
            "latency_ns": self.max_latency,
        }


@dataclass(frozen=True)
class StudyOptions(ConfirmationOptions):
    """The search."""

    searcher: Annotated[str, typer.Option(help=f"One of: {', '.join(SEARCHER_NAMES)}.")] = "auto"
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the searcher.")
    ] = None
    evaluations: Annotated[float, typer.Option(min=1, help="What the search may cost.")] = 200.0
    wall_seconds: Annotated[float | None, typer.Option(min=0, help="What it may cost in time.")] = (
        None
    )
    trial_seconds: Annotated[
        float | None, typer.Option(min=0, help="A trial that takes longer is killed.")
    ] = None
    trial_memory_bytes: Annotated[
        int | None, typer.Option(min=1, help="A trial that takes more memory is killed.")
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            help=f"Whose latency is predicted: {', '.join(TARGETS)}, or the id of a target of the "
            "service."
        ),
    ] = None
    latency_batch: Annotated[int, typer.Option(min=1, help="Images of one call there.")] = 1
    seed: Seed = 0
    repair: Annotated[
        str | None,
        typer.Option(
            help="none, reconstruction, recalibration or distillation; unless set, the searcher's."
        ),
    ] = None
    signal: Annotated[
        str | None, typer.Option(help="accuracy, cross_entropy or kl; accuracy unless set.")
    ] = None
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Search images that score a candidate; all unless set."),
    ] = None
    calibration_images: Annotated[
        int | None, typer.Option(min=1, help="Train images that repair and ranges are taken from.")
    ] = None
    backend: Annotated[
        str,
        typer.Option(
            help="What runs candidates: torch, openvino, cuda, or auto: the fastest that is there."
        ),
    ] = "auto"
    parallelism: Annotated[int, typer.Option(min=1, help="Evaluations at once.")] = 1
    accuracy_floor: AccuracyFloor = None

    def body(self, budget: BudgetOptions) -> dict[str, Any]:
        """Write the study as `POST /v1/jobs` takes it."""
        kept, smaller_ratios = budget.required()
        effort = {
            "evaluations": self.evaluations,
            "wall_seconds": self.wall_seconds,
            "trial_seconds": self.trial_seconds,
            "trial_memory_bytes": self.trial_memory_bytes,
        }
        recipe = {
            "repair": self.repair,
            "signal": self.signal,
            "images": self.images,
            "calibration_images": self.calibration_images,
            "backend": self.backend,
        }
        return {
            "searcher": self.searcher,
            "budget": kept,
            "effort": {name: value for name, value in effort.items() if value is not None},
            "recipe": {name: value for name, value in recipe.items() if value is not None},
            "confirmation": self.confirmation(),
            "seed": self.seed,
            "parallelism": self.parallelism,
            "searcher_options": texts.assignments(self.option, "--option"),
            **({"smaller_ratios": smaller_ratios} if smaller_ratios else {}),
            **self._floor(),
            **self._target(),
        }

    def _floor(self) -> dict[str, Any]:
        if self.accuracy_floor is None:
            return {}
        return {"accuracy_floor": read_floor(self.accuracy_floor)}

    def _target(self) -> dict[str, Any]:
        if self.target is None:
            return {}
        return {"target": self.target, "latency_batch": self.latency_batch}
