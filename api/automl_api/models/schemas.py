"""Bodies of `/v1/models`."""

from typing import Any

from pydantic import Field

from automl_api.bodies import Identity, Moment, Name, RequestBody, ResponseBody
from automl_compress.store import ModelRow


class ArchitectureBody(RequestBody):
    """An architecture of `/v1/capabilities` and values of its config's fields."""

    name: Name
    config: dict[str, Any] = Field(default_factory=dict[str, Any], max_length=50)


class NewModel(RequestBody):
    """A network to register: an architecture, or an uploaded program (a `.pt2` file).

    Without a weights file it keeps its initial weights, or those of the program. Accuracy is
    measured on `output`, counted from 0; a network of several outputs keeps them all.
    """

    name: Name
    architecture: ArchitectureBody | None = None
    program_file_id: Identity | None = None
    weights_file_id: Identity | None = None
    output: int = Field(default=0, ge=0, le=99)


class Fingerprint(ResponseBody):
    """What a policy document must match; `program` is of an uploaded program's file.

    `output` is the scored one of a network of several.
    """

    graph: str
    weights: str
    program: str | None = None
    output: int | None = None


class Totals(ResponseBody):
    """What the uncut network costs."""

    macs: int
    parameters: int
    size_bytes: int
    bit_operations: int
    micronet: int | None = None  # networks from before scores were counted have none


class GroupBody(ResponseBody):
    """Channels that are cut together: one decision."""

    name: str
    channels: int
    producers: list[str]
    consumers: list[str]


class ObstacleBody(ResponseBody):
    """Layers that stay whole, and why."""

    layers: list[str]
    operator: str
    reason: str


class LayerBody(ResponseBody):
    """A layer of the network."""

    name: str
    kind: str
    operator: str
    in_channels: int
    out_channels: int
    kernel_size: list[int]


class ModelBody(ResponseBody):
    """A registered network. Everything was checked when it was registered.

    `outputs` are the shapes of its outputs, for one image; accuracy is measured on number `output`.
    """

    id: str
    name: str
    status: str = "ready"
    architecture: ArchitectureBody | None
    program_file_id: str | None
    weights_file_id: str | None
    fingerprint: Fingerprint
    input_shape: list[int]
    num_classes: int
    output: int
    outputs: list[list[int]]
    totals: Totals
    groups: list[GroupBody]
    obstacles: list[ObstacleBody]
    created: Moment


class ModelDetailsBody(ModelBody):
    """A registered network with its layers."""

    layers: list[LayerBody]


def model_body(row: ModelRow) -> ModelBody:
    """Describe a model's row."""
    return ModelBody.model_validate(_content(row))


def model_details_body(row: ModelRow) -> ModelDetailsBody:
    """Describe a model's row with its layers."""
    layers = row.details["graph"]["layers"]
    return ModelDetailsBody.model_validate({**_content(row), "layers": layers})


def _content(row: ModelRow) -> dict[str, Any]:
    details, name = row.details, row.source["architecture"]
    return {
        "id": row.id,
        "name": row.name,
        "architecture": name and {"name": name, "config": row.source.get("config") or {}},
        "program_file_id": row.source.get("program_file_id"),
        "weights_file_id": row.weights_file_id,
        "fingerprint": details["fingerprint"],
        "input_shape": details["input_shape"],
        "num_classes": details["num_classes"],
        # Networks from before there could be several have one.
        "output": details.get("output", 0),
        "outputs": details.get("outputs", [[details["num_classes"]]]),
        "totals": details["totals"],
        "groups": details["graph"]["groups"],
        "obstacles": details["graph"]["obstacles"],
        "created": row.created_at,
    }
