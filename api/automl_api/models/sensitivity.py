"""The sensitivity profile of a network, put together from the probes of its jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

from automl_api.bodies import ResponseBody
from automl_compress.core import Choice, kept_channels
from automl_compress.core.canonical import canonical_json
from automl_compress.core.errors import NotFound
from automl_compress.store import ModelRow
from automl_compress.store.probes import StoredProbe


class ScoresBody(ResponseBody):
    """What one cut of the network scored; cross-entropy and KL in nats."""

    accuracy: float
    cross_entropy: float | None
    kl: float | None


class PointBody(ScoresBody):
    """One group cut alone: `kept` of its channels are left."""

    sparsity: float
    kept: int


class CurveBody(ResponseBody):
    """What a group's sparsity costs, the others left whole; by rising sparsity."""

    group: str
    channels: int
    points: Sequence[PointBody]


class SensitivityBody(ResponseBody):
    """A sensitivity profile: every point on the same first `images` under the same recipe.

    uncut: of the whole network; null where no job measured it alike.
    jobs: those whose trials it is made of.
    """

    model_id: str
    dataset_id: str
    recipe: Mapping[str, Any]
    criterion: str
    images: int
    uncut: ScoresBody | None
    groups: Sequence[CurveBody]
    jobs: Sequence[str]


def sensitivity_body(model: ModelRow, probes: Sequence[StoredProbe]) -> SensitivityBody:
    """Put the profile of most points together; of equal ones that of the latest job.

    Args:
        model: whose groups the curves are of.
        probes: the latest job's first; those that cut several groups are left out.

    Raises:
        NotFound: there is none.
    """
    alike: dict[str, dict[tuple[str, float], StoredProbe]] = {}
    for probe in probes:
        cut = _cut(probe)
        if len(cut) <= 1:
            place = (cut[0].group, cut[0].sparsity) if cut else ("", 0.0)
            alike.setdefault(_conditions(probe), {}).setdefault(place, probe)
    # Profiles of single layers cut no group; they are told by their job.
    alike = {key: places for key, places in alike.items() if any(group for group, _ in places)}
    if not alike:
        raise NotFound(
            f"nothing was profiled of model {model.id!r} on these data; submit a job on them "
            "with the searcher 'sensitivity' (POST /v1/jobs), its probes make the profile"
        )
    return _body(model, max(alike.values(), key=len))


def _cut(probe: StoredProbe) -> list[Choice]:
    return [choice for choice in probe.policy.choices if choice.sparsity > 0.0]


def _conditions(probe: StoredProbe) -> str:
    measured, layers = probe.measurement, probe.policy.to_json()["layers"]
    alike = [measured.recipe.to_json(), _criterion(probe), layers, measured.total]
    return canonical_json([probe.dataset_id, *alike])


def _criterion(probe: StoredProbe) -> str:
    """Return how channels were chosen; empty where the network has none to choose."""
    return probe.policy.choices[0].criterion if probe.policy.choices else ""


def _body(model: ModelRow, places: Mapping[tuple[str, float], StoredProbe]) -> SensitivityBody:
    first = next(iter(places.values()))
    uncut = places.get(("", 0.0))
    return SensitivityBody(
        model_id=model.id,
        dataset_id=first.dataset_id,
        recipe=first.measurement.recipe.to_json(),
        criterion=_criterion(first),
        images=first.measurement.total,
        uncut=None if uncut is None else ScoresBody(**_scores(uncut)),
        groups=[_curve(group, places) for group in model.details["graph"]["groups"]],
        jobs=list(dict.fromkeys(probe.job_id for probe in places.values())),
    )


def _curve(group: Mapping[str, Any], places: Mapping[tuple[str, float], StoredProbe]) -> CurveBody:
    channels = group["channels"]
    points = [
        PointBody(
            sparsity=sparsity,
            kept=kept_channels(channels, sparsity),
            **_scores(places[name, sparsity]),
        )
        for name, sparsity in sorted(places)
        if name == group["name"]
    ]
    return CurveBody(group=group["name"], channels=channels, points=points)


def _scores(probe: StoredProbe) -> dict[str, Any]:
    measured = probe.measurement
    return {
        "accuracy": measured.accuracy,
        "cross_entropy": measured.cross_entropy,
        "kl": measured.kl,
    }
