"""Everything that the page of a policy shows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from automl_api.artifacts.endpoints import ArtifactBody, artifact_body
from automl_compress.core import METRICS
from automl_compress.store import artifacts as artifact_rows
from automl_compress.store import policies as policy_rows
from automl_compress.store.tables import PolicyRow


@dataclass(frozen=True)
class LayerView:
    """A layer before and after; the channels are those of its group, where it has one."""

    name: str
    operator: str
    channels: tuple[int, int] | None
    before: Mapping[str, int]
    after: Mapping[str, int]


@dataclass(frozen=True)
class PolicyView:
    """A policy document with what its page needs.

    network: the file that holds the compressed network's weights; None where none is stored.
    """

    id: str
    job_id: str | None
    document: Mapping[str, Any]
    layers: Sequence[LayerView]
    network: ArtifactBody | None
    policy: ArtifactBody | None
    snippet: str


def policy_view(session: Session, policy_id: str) -> PolicyView:
    """Read a policy and its files; raises NotFound."""
    row = policy_rows.get(session, policy_id)
    files = _files(session, row)
    network, policy = files.get("network"), files.get("policy")
    return PolicyView(
        id=row.id,
        job_id=row.job_id,
        document=row.document,
        layers=_layers(row.document),
        network=network,
        policy=policy,
        snippet=_snippet(row.document, policy, network),
    )


def _files(session: Session, row: PolicyRow) -> dict[str, ArtifactBody]:
    """Return this policy's own files: the network is told by its hash, the document by its name."""
    if row.job_id is None:
        return {}
    stored = [artifact_body(each) for each in artifact_rows.of_job(session, row.job_id)]
    sha256 = str(row.document["repair"]["weights_sha256"] or "").removeprefix("sha256:")
    network = next(
        (each for each in stored if each.kind == "network" and each.sha256 == sha256), None
    )
    if network is None:
        return {}
    name = network.name.replace("network", "policy").replace(".safetensors", ".json")
    policy = next((each for each in stored if each.name == name), None)
    return {"network": network} if policy is None else {"network": network, "policy": policy}


def _layers(document: Mapping[str, Any]) -> list[LayerView]:
    groups = {each["name"]: each["channels"] for each in document["groups"]}
    layers: list[LayerView] = []
    for each in document["layers"]:
        channels = groups.get(each["group"])
        cost = each["cost"]
        layers.append(
            LayerView(
                name=each["name"],
                operator=each["operator"],
                channels=None if channels is None else (channels["before"], channels["after"]),
                before={metric: cost["before"][metric] for metric in METRICS},
                after={metric: cost["after"][metric] for metric in METRICS},
            )
        )
    return layers


def _snippet(
    document: Mapping[str, Any], policy: ArtifactBody | None, network: ArtifactBody | None
) -> str:
    architecture = document["model"]["architecture"]
    lines = ["from automl_compress import apply_policy, build_network", ""]
    if architecture is None:
        lines[0] = "from automl_compress import apply_policy"
        lines.append("uncut = ...  # your network, as it was before")
    else:
        config = json.dumps(architecture["config"])
        lines.append(f"uncut = build_network({json.dumps(architecture['name'])}, {config})")
    document_name = "policy.json" if policy is None else policy.name
    files = [document_name] if network is None else [document_name, network.name]
    told = ", ".join(f'"{name}"' for name in files)
    return "\n".join([*lines, f"network = apply_policy(uncut, {told})"])
