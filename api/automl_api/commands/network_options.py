"""Options of the network and of the data that a command works on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from automl_api.commands import texts


@dataclass(frozen=True)
class NetworkOptions:
    """What MODEL leaves open."""

    weights: Annotated[Path | None, typer.Option(help="Trained weights, a safetensors file.")] = (
        None
    )
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="A field of the architecture's config."),
    ] = None

    scored_output: Annotated[
        int | None,
        typer.Option(
            "--scored-output",
            metavar="NUMBER",
            min=0,
            help="Of a network of several outputs, the one that accuracy is measured on, from 0.",
        ),
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the architecture's config."""
        return texts.assignments(self.config, "--config")


@dataclass(frozen=True)
class DataOptions:
    """What DATA leave open."""

    mean: Annotated[str | None, typer.Option(help="Of the normalisation, as 0.49,0.48,0.45.")] = (
        None
    )
    std: Annotated[str | None, typer.Option(help="Of the normalisation.")] = None
    has_flips: Annotated[
        bool, typer.Option("--flip", help="Training may mirror images left to right.")
    ] = False
    crop_padding: Annotated[
        int, typer.Option(min=0, max=64, help="Training may shift images by so many pixels.")
    ] = 0

    def data_options(self) -> dict[str, Any]:
        """Return what was given of the data's options, as `POST /v1/datasets` takes them."""
        normalisation = texts.normalisation(self.mean, self.std)
        is_augmented = self.has_flips or self.crop_padding > 0
        augmentation = {"flip": self.has_flips, "crop_padding": self.crop_padding}
        return {
            **({} if normalisation is None else {"normalisation": normalisation}),
            **({"augmentation": augmentation} if is_augmented else {}),
        }
