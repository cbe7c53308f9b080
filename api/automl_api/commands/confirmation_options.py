"""Options of what happens to the best policies of a search."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class ConfirmationOptions:
    """How the best policies are tuned and handed out."""

    top_k: Annotated[int, typer.Option(min=1, help="How many policies are confirmed.")] = 1
    finetune_epochs: Annotated[int, typer.Option(min=0, help="Of each confirmed policy.")] = 3
    finetune_scales: Annotated[
        str,
        typer.Option(
            help="Of quantised layers while tuning: fitted in each step, fixed before, or learned."
        ),
    ] = "fitted"
    distillation_weight: Annotated[
        float,
        typer.Option(min=0, max=1, help="Fine-tuning learns from the uncut network: 0 (no) to 1."),
    ] = 0.0
    distillation_temperature: Annotated[
        float, typer.Option(min=0, help="Both networks' logits are divided by it.")
    ] = 4.0
    distillation_direction: Annotated[
        str,
        typer.Option(help="forward covers the uncut network's answers, reverse settles on one."),
    ] = "forward"
    recipe: Annotated[
        str,
        typer.Option(
            help="How they are tuned: at_once, or micronet, in the stages of the MicroNet winners."
        ),
    ] = "at_once"
    precision: Annotated[str, typer.Option(help="Of fine-tuning: float32 or bfloat16.")] = "float32"
    floor_points: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="Points that micronet may lose; the cheapest is best."),
    ] = None
    formats: Annotated[
        str,
        typer.Option(help="Files that a job writes for engines: onnx,openvino,pt2,bundle; none."),
    ] = "onnx"

    def confirmation(self) -> dict[str, Any]:
        """Write them as the `confirmation` of a study."""
        return {
            "top_k": self.top_k,
            "finetune_epochs": self.finetune_epochs,
            "finetune_scales": self.finetune_scales,
            "distillation_weight": self.distillation_weight,
            "distillation_temperature": self.distillation_temperature,
            "distillation_direction": self.distillation_direction,
            "recipe": self.recipe,
            "precision": self.precision,
            "floor_points": self.floor_points,
            "formats": [] if self.formats == "none" else self.formats.split(","),
        }
