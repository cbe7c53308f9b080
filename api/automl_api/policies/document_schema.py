"""The form of policy documents, for whoever reads or writes them with other programs.

`automl_compress.core.document` is what reads them, and also refuses what no schema can tell:
counts that do not agree, another graph, a wrong digest.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from automl_api.caching import TAGGED
from automl_compress.core.document import SCHEMA
from automl_compress.core.document_rows import RepairMethod
from automl_compress.core.trial import Fidelity
from automl_compress.core.weight_grids import WeightScales

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Sparsity = Annotated[float, Field(ge=0, lt=1)]
BitWidth = Literal[1, 2, 3, 4, 5, 6, 7, 8, 16, 32]


class ArchitectureSchema(BaseModel):
    """How to build the uncut network by name."""

    name: str
    config: Mapping[str, Any]


class FingerprintSchema(BaseModel):
    """What tells the uncut network from others: it must have this graph."""

    graph: Sha256
    weights: Sha256


class ModelSchema(BaseModel):
    """The network that the policy was made for.

    input_shape: of one example, without the batch axis.
    output: number of the output that accuracy is measured on; absent where there is one alone.
    """

    id: str | None = None
    name: str
    architecture: ArchitectureSchema | None = None
    fingerprint: FingerprintSchema
    input_shape: list[Positive]
    output: Count | None = None


class ChannelsSchema(BaseModel):
    """Channels of a group; those that are kept by their indices, ascending."""

    before: Positive
    after: Positive
    kept: Annotated[list[Count], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


class GroupSchema(BaseModel):
    """What becomes of channels that are cut together."""

    name: str
    scheme: Literal["channel"]
    sparsity: Sparsity
    criterion: str
    channels: ChannelsSchema


class CutSchema(BaseModel):
    """Entries of tensors that stay: each of `axes` is a tensor and an axis.

    Without an axis `kept` are the tensor's new values.
    """

    kept: list[Count]
    axes: list[tuple[str, Count | None]]


class CostSchema(BaseModel):
    """What a layer costs; its latency where the search had a target."""

    macs: Count
    parameters: Count
    size_bytes: Count
    bit_operations: Count
    latency_ns: Count = 0


class ChangeSchema(BaseModel):
    """What a layer costs in the uncut network and in the compressed one."""

    before: CostSchema
    after: CostSchema


class QuantisationSchema(BaseModel):
    """What becomes of a layer's weights and inputs; 32 bits are floats.

    input_scale: the step between two values of the inputs; null where they stay float.
    """

    sparsity: Sparsity
    weight_bits: BitWidth
    activation_bits: BitWidth
    quantiser: str
    weight_scales: WeightScales = "channel"
    folded_norm: str | None = None
    input_scale: Annotated[float, Field(gt=0)] | None = None
    has_signed_inputs: bool


class LayerSchema(BaseModel):
    """One layer; `group` is the one that cuts its output."""

    name: str
    operator: str
    group: str | None = None
    cost: ChangeSchema
    quantisation: QuantisationSchema | None = None


class TotalSchema(BaseModel):
    """A cost of the whole network; `ratio` is what is kept."""

    before: Count
    after: Count
    ratio: Annotated[float, Field(ge=0)]


class TotalsSchema(BaseModel):
    """What the uncut and the compressed network cost; the last two where they were counted."""

    macs: TotalSchema
    parameters: TotalSchema
    size_bytes: TotalSchema
    bit_operations: TotalSchema
    micronet: TotalSchema | None = None
    latency_ns: TotalSchema | None = None


class RepairSchema(BaseModel):
    """What happened to the weights after the cut; with `none`, cutting gives the network.

    Otherwise the weights file with this digest has them, and the packed one.
    """

    method: RepairMethod
    weights_sha256: Sha256 | None = None
    packed_sha256: Sha256 | None = None


class MetricSchema(BaseModel):
    """A measured figure: of which images, at which fidelity. Accuracy is a fraction.

    total: images. interval: at 95 % confidence.
    """

    name: str
    value: float
    split: str
    fidelity: Fidelity
    total: Positive | None = None
    interval: tuple[float, float] | None = None


class PolicyDocumentSchema(BaseModel):
    """A policy with the network it is for, what it costs, and what was measured of it.

    Readers of version 1 ignore members that they do not know.

    schema: the form's own name.
    metrics, baseline: of the compressed network, and of the uncut one.
    provenance: searcher, seed, job, data and how they were normalised, versions.
    latency: measured on the search's target, in turns with the uncut network.
    execution: how both networks run.
    digest: SHA-256 of the canonical form (RFC 8785) of the document without this member.
    """

    named: Annotated[str, Field(alias="schema", json_schema_extra={"const": SCHEMA})]
    version: Annotated[str, Field(pattern=r"^1\.[0-9]+$")]
    id: str | None = None
    created: str | None = None
    model: ModelSchema
    groups: list[GroupSchema]
    cuts: list[CutSchema]
    layers: list[LayerSchema]
    totals: TotalsSchema
    repair: RepairSchema
    metrics: list[MetricSchema]
    baseline: list[MetricSchema]
    provenance: Mapping[str, Any]
    latency: Mapping[str, Any] | None = None
    execution: Mapping[str, Any] | None = None
    digest: Sha256


#: What GET of a document may answer, for OpenAPI.
DOCUMENT: dict[int | str, dict[str, Any]] = {
    **TAGGED,
    200: {**TAGGED[200], "model": PolicyDocumentSchema},
}
