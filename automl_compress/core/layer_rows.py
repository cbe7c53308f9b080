"""What a policy document says of single layers."""

import math
from dataclasses import dataclass
from typing import Any

from automl_compress.core.budget import LAYER_METRICS, Cost, Metric
from automl_compress.core.errors import PolicyInvalid
from automl_compress.core.json_field import JsonField
from automl_compress.core.policy import FLOAT_BITS, LayerChoice


@dataclass(frozen=True, slots=True)
class LayerQuantisation:
    """What becomes of one layer's weights and inputs: all that applying it needs.

    choice: sparsity, bits and quantiser.
    folded_norm: the norm whose scale the weights take and whose bias keeps the shift; None where
        none follows, or the weights stay float and dense.
    input_scale: the step between two values of the layer's inputs; None where they stay float.
    has_signed_inputs: whether the inputs' codes are symmetric about zero.
    """

    choice: LayerChoice
    folded_norm: str | None = None
    input_scale: float | None = None
    has_signed_inputs: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what happens to the layer as a JSON object."""
        choice = self.choice.to_json()
        del choice["layer"]
        return {
            **choice,
            "folded_norm": self.folded_norm,
            "input_scale": self.input_scale,
            "has_signed_inputs": self.has_signed_inputs,
        }

    @classmethod
    def read(cls, layer: str, content: JsonField) -> "LayerQuantisation":
        """Read what `to_json` wrote."""
        try:
            choice = LayerChoice.from_json({**content.object(), "layer": layer})
        except PolicyInvalid as error:
            content.refuse(str(error))
        norm, scale = content.find("folded_norm"), content.find("input_scale")
        if scale is not None and not 0 < scale.number() < math.inf:
            scale.refuse(f"is {scale.value}; give a finite number above 0")
        if (scale is None) != (choice.activation_bits == FLOAT_BITS):
            content.refuse("gives inputs a scale without bits, or bits without a scale")
        return cls(
            choice,
            None if norm is None else norm.text(),
            None if scale is None else float(scale.number()),
            content.get("has_signed_inputs").boolean(),
        )


@dataclass(frozen=True, slots=True)
class LayerRow:
    """What one layer costs before and after.

    before, after: `latency_ns` is what it takes of a call; 0 for a norm or the like. Rows of
        a study without target tell none.
    quantisation: None where it stays float.
    """

    name: str
    operator: str
    group: str | None  # that cuts its output
    before: Cost
    after: Cost
    quantisation: LayerQuantisation | None = None

    def to_json(self, *, has_latency: bool) -> dict[str, Any]:
        """Return the row as a JSON object; `has_latency`: whether the document's layers have."""
        metrics: tuple[Metric, ...] = (
            (*LAYER_METRICS, "latency_ns") if has_latency else LAYER_METRICS
        )
        moments = {"before": self.before, "after": self.after}
        cost = {
            moment: {metric: cost.of(metric) for metric in metrics}
            for moment, cost in moments.items()
        }
        return {
            "name": self.name,
            "operator": self.operator,
            "group": self.group,
            "cost": cost,
            "quantisation": None if self.quantisation is None else self.quantisation.to_json(),
        }

    @classmethod
    def read(cls, content: JsonField) -> "LayerRow":
        """Read what `to_json` wrote."""
        cost, group = content.get("cost"), content.find("group")
        name, quantisation = content.get("name").text(), content.find("quantisation")
        return cls(
            name=name,
            operator=content.get("operator").text(),
            group=None if group is None else group.text(),
            before=_read_cost(cost.get("before")),
            after=_read_cost(cost.get("after")),
            quantisation=None
            if quantisation is None
            else LayerQuantisation.read(name, quantisation),
        )


def _read_cost(cost: JsonField) -> Cost:
    latency = cost.find("latency_ns")
    counts = {metric: cost.get(metric).integer() for metric in LAYER_METRICS}
    return Cost(**counts, latency_ns=0 if latency is None else latency.integer())
