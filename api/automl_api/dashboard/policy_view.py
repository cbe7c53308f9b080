"""Everything that the page of a policy shows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from automl_api.artifacts.endpoints import ArtifactBody, artifact_body
from automl_api.dashboard.evaluations_view import EvaluationsView, evaluations_view
from automl_api.dashboard.rendering import metrics_of
from automl_api.jobs.schemas import JobBody, job_body
from automl_compress.core.confirmation import ENGINE_FORMATS
from automl_compress.core.execution import ExecutionChange, LayerExecution
from automl_compress.core.json_field import JsonField
from automl_compress.store import JobKind, JobState, browsing
from automl_compress.store import artifacts as artifact_rows
from automl_compress.store import policies as policy_rows
from automl_compress.store.browsing import JobFilter, PolicyOfJob
from automl_compress.store.tables import PolicyRow

FLOAT = 32  # bits of what stays as it is


@dataclass(frozen=True)
class LayerView:
    """A layer before and after.

    channels: of its group, where it has one.
    bits: of weights and inputs; empty where both stay float.
    sparsity: fraction of the remaining weights that is zero.
    saves: what the change is good for. bound: what the layer waits for, where that is known.
    """

    name: str
    operator: str
    channels: tuple[int, int] | None
    bits: str
    sparsity: float
    before: Mapping[str, int]
    after: Mapping[str, int]
    saves: str
    bound: str


@dataclass(frozen=True)
class PolicyView:
    """A policy document with what its page needs.

    job_id: None where a user brought it.
    execution: how the networks run, where the document says so: read, since its user may have
        written into it what no run gives.
    files: what there is of it, to take home. formats: that it can be had in, too.
    exports: jobs that write it, or could not.
    others: further policies for the same network.
    """

    id: str
    job_id: str | None
    model_id: str | None
    document: Mapping[str, Any]
    execution: ExecutionChange | None
    layers: Sequence[LayerView]
    files: Sequence[ArtifactBody]
    formats: Sequence[str]
    exports: Sequence[JobBody]
    snippet: str
    others: Sequence[PolicyOfJob]
    evaluations: EvaluationsView

    @property
    def layer_metrics(self) -> list[str]:
        """What the costs of all layers tell, in our order."""
        costs = [cost for layer in self.layers for cost in (layer.before, layer.after)]
        return metrics_of(set[str].intersection(*map(set, costs or [self.document["totals"]])))

    @property
    def metrics(self) -> list[str]:
        """The costs that the document tells."""
        return list(self.document["totals"])

    @property
    def accuracy(self) -> Mapping[str, Any] | None:
        """The figure on images that chose nothing, where the document has one."""
        named = (each for each in self.document["metrics"] if each["name"] == "accuracy")
        return next((each for each in named if each["split"].startswith("test")), None)


def policy_view(session: Session, policy_id: str) -> PolicyView:
    """Read a policy and its files; raises NotFound."""
    row = policy_rows.get(session, policy_id)
    files = [artifact_body(each) for each in artifact_rows.of_policy(session, row)]
    told = JsonField(row.document).find("execution")
    execution = None if told is None else ExecutionChange.read(told)
    return PolicyView(
        id=row.id,
        job_id=row.job_id,
        model_id=row.model_id,
        document=row.document,
        execution=execution,
        layers=_layers(row.document, execution),
        files=files,
        formats=_formats(files),
        exports=_exports(session, row),
        snippet=_snippet(row.document, files),
        others=_others(session, row),
        evaluations=evaluations_view(session, row),
    )


def bits_text(choice: Mapping[str, Any]) -> str:
    """Say the bits of a layer's choice in a policy or a document; empty for float, or for none."""
    weights, inputs = (choice.get(name, FLOAT) for name in ("weight_bits", "activation_bits"))
    told = [("weights", weights), ("inputs", inputs)]
    return ", ".join(f"{name} {bits}" for name, bits in told if bits != FLOAT)


def _others(session: Session, row: PolicyRow) -> list[PolicyOfJob]:
    if row.model_id is None:
        return []
    return [each for each in browsing.policies_for(session, row.model_id) if each.id != row.id]


def _formats(files: Sequence[ArtifactBody]) -> list[str]:
    kinds = {each.kind for each in files}
    there = kinds | ({"safetensors"} if "network" in kinds else set[str]())
    return [each for each in ("safetensors", *ENGINE_FORMATS) if each not in there]


def _exports(session: Session, row: PolicyRow) -> list[JobBody]:
    """Return the exports that are under way, and the latest one where it failed."""
    found = browsing.jobs(session, JobFilter(policy_id=row.id, kind=JobKind.EXPORT)).rows
    ended = [each for each in found[:1] if each.state is JobState.FAILED]
    return [job_body(each) for each in found if each.finished_at is None or each in ended]


def _layers(document: Mapping[str, Any], execution: ExecutionChange | None) -> list[LayerView]:
    groups = {each["name"]: each["channels"] for each in document["groups"]}
    runs = {} if execution is None else {each.name: each for each in execution.after.layers}
    layers: list[LayerView] = []
    for each in document["layers"]:
        run = runs.get(each["name"])
        channels = groups.get(each["group"])
        cost: Mapping[str, Any] = each["cost"]
        changed: Mapping[str, Any] = each.get("quantisation") or {}
        layers.append(
            LayerView(
                name=each["name"],
                operator=each["operator"],
                channels=None if channels is None else (channels["before"], channels["after"]),
                bits=bits_text(changed),
                sparsity=changed.get("sparsity", 0.0),
                before=cost["before"],
                after=cost["after"],
                saves=_saves(cost["before"], cost["after"], run),
                bound="" if run is None else run.bound,
            )
        )
    return layers


def _saves(before: Mapping[str, int], after: Mapping[str, int], run: LayerExecution | None) -> str:
    """Say what a change is good for: zeros, and bits of what is computed in float, save no time."""
    if "latency_ns" in before and "latency_ns" in after:  # a target knows
        is_faster = after["latency_ns"] < before["latency_ns"]
    else:
        is_integer = run is not None and run.compute == "int8"
        is_faster = is_integer or after["macs"] < before["macs"]
    told = {"time": is_faster, "bytes": after["size_bytes"] < before["size_bytes"]}
    return " and ".join(name for name, is_saved in told.items() if is_saved)


def _snippet(document: Mapping[str, Any], files: Sequence[ArtifactBody]) -> str:
    architecture = document["model"]["architecture"]
    lines = ["from automl_compress import apply_policy, build_network", ""]
    if architecture is None:
        lines[0] = "from automl_compress import apply_policy"
        lines.append("uncut = ...  # your network, as it was before")
    else:
        config = json.dumps(architecture["config"])
        lines.append(f"uncut = build_network({json.dumps(architecture['name'])}, {config})")
    named = [each.name for kind in ("policy", "network") for each in files if each.kind == kind]
    told = ", ".join(f'"{name}"' for name in named or ["policy.json"])
    return "\n".join([*lines, f"network = apply_policy(uncut, {told})"])
