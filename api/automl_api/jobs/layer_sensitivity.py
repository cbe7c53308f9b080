"""`/v1/jobs/{id}/layer-sensitivity`: what changing one layer alone cost, by a job's probes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import APIRouter
from sqlalchemy.orm import Session

from automl_api.bodies import ResponseBody
from automl_api.service import ServiceDependency
from automl_compress.core import LayerChoice, Policy
from automl_compress.core.errors import NotFound
from automl_compress.store import jobs as job_rows
from automl_compress.store import models as model_rows
from automl_compress.store import probes
from automl_compress.store.probes import StoredProbe

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

LayerDecision = Literal["sparsity", "weight_bits", "activation_bits"]
_DECISIONS: tuple[LayerDecision, ...] = ("sparsity", "weight_bits", "activation_bits")


class LayerPointBody(ResponseBody):
    """One layer changed alone: its `decision` has this `value`; cross-entropy and KL in nats."""

    layer: str
    decision: LayerDecision
    value: float
    accuracy: float
    cross_entropy: float | None
    kl: float | None


class LayerSensitivityBody(ResponseBody):
    """What changing one layer alone cost, without any training, on the first `images`.

    unchanged: accuracy with every decision at its largest.
    points: by layer in the network's order, then by decision and value.
    """

    images: int
    unchanged: float
    points: Sequence[LayerPointBody]


@router.get("/layer-sensitivity")
def get_layer_sensitivity(job_id: str, service: ServiceDependency) -> LayerSensitivityBody:
    """Say what changing one layer alone cost, as far as the job's profile has come."""
    with service.database.reading() as session:
        job_rows.get(session, job_id)
        found = layer_sensitivity(session, job_id)
    if found is None:
        raise NotFound(
            f"job {job_id} profiled no layers; those do whose space opens densities or bits, with "
            "the searcher 'micronet', 'sensitivity', 'dp' or 'auto'"
        )
    return found


def layer_sensitivity(session: Session, job_id: str) -> LayerSensitivityBody | None:
    """Return what a job's probes say of single layers; None where they say nothing."""
    found = probes.of_job(session, job_id)
    if not found:
        return None
    base = found[0]  # a profile begins with every decision at its largest
    points = [point for each in found[1:] if (point := _point(base, each)) is not None]
    if not points:
        return None
    model = model_rows.get(session, job_rows.get(session, job_id).model_id)
    names = [layer["name"] for layer in model.details["graph"]["layers"]]
    order = {name: place for place, name in enumerate(names)}
    points.sort(key=lambda each: (order[each.layer], _DECISIONS.index(each.decision), each.value))
    measured = base.measurement
    return LayerSensitivityBody(images=measured.total, unchanged=measured.accuracy, points=points)


def _point(base: StoredProbe, probe: StoredProbe) -> LayerPointBody | None:
    """Return the point of a probe that differs from the base in one decision of one layer."""
    measured = probe.measurement
    if probe.policy.choices != base.policy.choices or measured.total != base.measurement.total:
        return None
    before, after = _choices(base.policy), _choices(probe.policy)
    changes: list[tuple[str, LayerDecision, Any]] = [
        (layer, decision, getattr(after.get(layer, LayerChoice(layer)), decision))
        for layer in {**before, **after}
        for decision in _DECISIONS
        if getattr(before.get(layer, LayerChoice(layer)), decision)
        != getattr(after.get(layer, LayerChoice(layer)), decision)
    ]
    if len(changes) != 1:
        return None
    ((layer, decision, value),) = changes
    return LayerPointBody(
        layer=layer,
        decision=decision,
        value=value,
        accuracy=measured.accuracy,
        cross_entropy=measured.cross_entropy,
        kl=measured.kl,
    )


def _choices(policy: Policy) -> Mapping[str, LayerChoice]:
    return {choice.layer: choice for choice in policy.layers}
