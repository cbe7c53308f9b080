"""Options of what a policy may decide."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from automl_api.commands import texts


@dataclass(frozen=True)
class SpaceChoices:
    """What a policy may decide."""

    scheme: Annotated[
        list[str] | None,
        typer.Option(
            help="channel removes channels (the default), element single weights; both: "
            "channel,element, or given twice; none leaves bits alone."
        ),
    ] = None
    weight_bits: Annotated[
        str | None, typer.Option(help="What weights may get, as 2,3,4,8; float unless set.")
    ] = None
    activation_bits: Annotated[
        str | None, typer.Option(help="What layer inputs may get; float unless set.")
    ] = None
    edge_bits: Annotated[
        int, typer.Option(help="Of the first and the last layer, where bits are searched; 0: any.")
    ] = 8
    quantiser: Annotated[
        str, typer.Option(help="What finds the values of quantised weights: scan, kmeans ...")
    ] = "scan"
    weight_scales: Annotated[
        str,
        typer.Option(help="Of quantised weights: channel, one for each output, or tensor, one."),
    ] = "channel"
    criterion: Annotated[
        str,
        typer.Option(help="What ranks channels: l1, l2, bn_scale, fpgm, taylor or random."),
    ] = "l1"
    max_sparsity: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The most that a group loses; 0.9 unless set."),
    ] = None
    max_element_sparsity: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="The most of a layer's weights that become zero; 0.95 unless set."
        ),
    ] = None
    density_step: Annotated[
        int | None,
        typer.Option(min=1, max=50, help="Percent between two densities of a layer; 5 unless set."),
    ] = None
    round_to: Annotated[
        int, typer.Option(help="Kept channels are multiples of 1, 2, 4, 8 or 16.")
    ] = 1
    skip: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A group or layer left as it is.")
    ] = None
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="A group that loses exactly this: conv1=25%."),
    ] = None

    def body(self) -> dict[str, Any]:
        """Write the space as `POST /v1/jobs` takes it; defaults are left out."""
        given = {
            "weight_bits": texts.whole_numbers(self.weight_bits, "--weight-bits"),
            "activation_bits": texts.whole_numbers(self.activation_bits, "--activation-bits"),
            "round_to": self.round_to,
            "skip": list(self.skip or ()),
            "fix": texts.shares(self.fix, "--fix"),
        }
        body: dict[str, Any] = {
            name: value for name, value in given.items() if value not in ([], {}, 1)
        }
        schemes = ",".join(self.scheme or ["channel"]).split(",")
        if schemes != ["channel"]:
            body["schemes"] = [] if schemes == ["none"] else schemes
        usual = {"criterion": "l1", "quantiser": "scan", "weight_scales": "channel"}
        unset = dict.fromkeys(("max_sparsity", "max_element_sparsity", "density_step"))
        for name, value in {**usual, **unset}.items():
            if getattr(self, name) != value:
                body[name] = getattr(self, name)
        if self.edge_bits != 8:
            body["edge_bits"] = self.edge_bits or None
        return body
