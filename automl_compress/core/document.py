"""The policy document: everything that is needed to apply a policy, and to trust it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from automl_compress.core.budget import LAYER_METRICS, METRICS, NETWORK_METRICS, Cost
from automl_compress.core.canonical import digest
from automl_compress.core.document_rows import (
    GroupRow,
    MetricRow,
    ModelReference,
    RepairNote,
    TensorCut,
    cuts_to_json,
    group_rows,
    read_cuts,
)
from automl_compress.core.errors import PolicyInvalid, StorageFailed
from automl_compress.core.execution import ExecutionChange
from automl_compress.core.json_field import JsonField
from automl_compress.core.layer_rows import LayerQuantisation, LayerRow
from automl_compress.core.policy import Choice, Policy
from automl_compress.whole_files import write_whole

__all__ = [
    "GroupRow",
    "LayerQuantisation",
    "LayerRow",
    "MetricRow",
    "ModelReference",
    "PolicyDocument",
    "RepairNote",
    "TensorCut",
    "group_rows",
]

PACKED_SUFFIX = ".amlc"  # of packed files

SCHEMA = "https://automl-compress.invalid/schemas/policy-v1.json"
VERSION = "1.0"


@dataclass(frozen=True)
class PolicyDocument:
    """A policy with the network it is for, what it costs, and what was measured of it.

    cuts: which entries of which tensors stay; follows from `groups` and the network's coupling,
        and spares whoever applies the policy from analysing that again.
    before, after: costs of the uncut and of the cut network.
    metrics: of the compressed network; baseline: of the uncut one.
    provenance: searcher, seed, job, data and how they were normalised, versions; plain JSON values.
    created: RFC 3339, UTC.
    latency: how fast the network was on its study's target, measured in turns with the uncut one;
        plain JSON values. None where nobody measured.
    execution: how both networks run: activations, traffic, zeros. None where nobody watched.
    """

    model: ModelReference
    groups: tuple[GroupRow, ...]
    before: Cost
    after: Cost
    cuts: tuple[TensorCut, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    baseline: tuple[MetricRow, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    repair: RepairNote = field(default_factory=RepairNote)
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    created: str | None = None
    id: str | None = None
    latency: Mapping[str, Any] | None = None
    execution: ExecutionChange | None = None

    @property
    def policy(self) -> Policy:
        """The policy, with explicit kept channels."""
        return Policy(
            tuple(
                Choice(row.name, row.sparsity, row.scheme, row.criterion, row.kept)
                for row in self.groups
            ),
            tuple(row.quantisation.choice for row in self.layers if row.quantisation),
        )

    @property
    def digest(self) -> str:
        """`sha256:...` over the canonical form of the document without its digest."""
        return digest(self._content())

    def to_json(self) -> dict[str, Any]:
        """Return the document as a JSON object, its digest included."""
        content = self._content()
        return {**content, "digest": digest(content)}

    @classmethod
    def from_json(cls, content: Any) -> "PolicyDocument":
        """Read what `to_json` wrote; members that this version does not know are ignored.

        Raises:
            PolicyInvalid: not a policy document of version 1, or a field is not what it should
                be; the message begins with the field's JSON pointer.
        """
        root = JsonField(content)
        _check_version(root.get("version"))
        _check_digest(root)
        totals, execution = root.get("totals"), root.find("execution")
        document = cls(
            model=ModelReference.read(root.get("model")),
            groups=tuple(GroupRow.read(each) for each in root.get("groups").items()),
            cuts=read_cuts(root.get("cuts")),
            before=_read_totals(totals, "before"),
            after=_read_totals(totals, "after"),
            metrics=tuple(MetricRow.read(each) for each in root.get("metrics").items()),
            baseline=tuple(MetricRow.read(each) for each in root.get("baseline").items()),
            layers=tuple(LayerRow.read(each) for each in root.get("layers").items()),
            repair=RepairNote.read(root.get("repair")),
            provenance=dict(root.get("provenance").object()),
            created=_read_text(root, "created"),
            id=_read_text(root, "id"),
            latency=_read_latency(root),
            execution=None if execution is None else ExecutionChange.read(execution),
        )
        _check_names(root.get("groups"), [row.name for row in document.groups])
        return document

    @classmethod
    def load(cls, path: str | Path) -> "PolicyDocument":
        """Read a file; raises PolicyInvalid."""
        try:
            content = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise PolicyInvalid(
                f"the policy document {path} cannot be read ({error.strerror}); give the path of "
                "a policy.json"
            ) from error
        except ValueError as error:
            raise PolicyInvalid(f"{path} is not JSON ({error}); give a policy.json") from error
        return cls.from_json(content)

    def save(self, path: str | Path) -> None:
        """Write the document; the file appears whole or not at all.

        Raises:
            StorageFailed: the disk did not take it.
        """
        _save_text(Path(path), json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")

    def _content(self) -> dict[str, Any]:
        has_latency = any(row.before.latency_ns or row.after.latency_ns for row in self.layers)
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "id": self.id,
            "created": self.created,
            "model": self.model.to_json(),
            "groups": [row.to_json() for row in self.groups],
            "cuts": cuts_to_json(self.cuts),
            "layers": [row.to_json(has_latency=has_latency) for row in self.layers],
            "totals": _totals(self.before, self.after),
            "repair": self.repair.to_json(),
            "metrics": [row.to_json() for row in self.metrics],
            "baseline": [row.to_json() for row in self.baseline],
            "provenance": dict(self.provenance),
            # A member of its own only where there is one: older documents keep their digests.
            **({} if self.latency is None else {"latency": dict(self.latency)}),
            **({} if self.execution is None else {"execution": self.execution.to_json()}),
        }


def _totals(before: Cost, after: Cost) -> dict[str, Any]:
    return {
        metric: {
            "before": before.of(metric),
            "after": after.of(metric),
            "ratio": after.of(metric) / before.of(metric) if before.of(metric) else 1.0,
        }
        for metric in METRICS
        # What was not counted is not told, or old documents would get another digest.
        if metric not in NETWORK_METRICS or before.of(metric)
    }


def _read_totals(totals: JsonField, moment: str) -> Cost:
    told = [each for each in METRICS if each in LAYER_METRICS or totals.find(each) is not None]
    return Cost(**{metric: totals.get(metric).get(moment).integer() for metric in told})


def _read_latency(root: JsonField) -> Mapping[str, Any] | None:
    """Return a measured latency; what readers are shown of it must be there."""
    latency = root.find("latency")
    if latency is None:
        return None
    for name in ("target", "engine_version", "processor"):
        latency.get(name).text()
    for count in (latency.get("plan").get("batch"), latency.get("threads"), latency.get("rounds")):
        count.integer(1)
    for figure in ("cpu_ms", "reference_cpu_ms", "wall_ms", "ratio", "spread", "load"):
        latency.get(figure).number()
    if latency.get("ratio").number() <= 0:
        latency.get("ratio").refuse(f"is {latency.get('ratio').value}; give a number above 0")
    return dict(latency.object())


def _read_text(root: JsonField, name: str) -> str | None:
    found = root.find(name)
    return None if found is None else found.text()


def _check_version(version: JsonField) -> None:
    if version.text().split(".")[0] != VERSION.split(".")[0]:
        version.refuse(
            f"is {version.value!r}; this program reads version {VERSION.split('.')[0]}: use the "
            "release that wrote the document, or write it again"
        )


def _check_digest(root: JsonField) -> None:
    told = root.get("digest")
    rest = {name: value for name, value in root.object().items() if name != "digest"}
    try:
        actual = digest(rest)
    except (TypeError, ValueError) as error:
        root.refuse(f"cannot be digested: {error}")
    if told.text() != actual:
        told.refuse(
            f"is {told.value!r}, but the content has {actual!r}: the document was changed after "
            "it was made; fetch it again"
        )


def _check_names(groups: JsonField, names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            JsonField(name, f"{groups.pointer}/{place}/name").refuse(
                f"is {name!r} for the second time; give each group once"
            )


def _save_text(path: Path, text: str) -> None:
    try:
        write_whole(path, [text.encode()])
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written ({error.strerror}); choose a folder that exists and has room"
        ) from error
