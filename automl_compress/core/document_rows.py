"""The parts of a policy document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal, cast, get_args

from automl_compress.core.errors import PolicyInvalid
from automl_compress.core.graph import LayerGraph
from automl_compress.core.json_field import JsonField
from automl_compress.core.policy import Policy, kept_channels
from automl_compress.core.trial import Fidelity

RepairMethod = Literal["none", "reconstruction", "recalibration", "distillation", "fine-tuned"]


@dataclass(frozen=True, slots=True)
class ModelReference:
    """The network that a policy was made for.

    input_shape: of one example, without the batch axis.
    architecture, config: how to build it by name; None where it is not of a registered one.
    output: number of the output that accuracy is measured on; None where it has no other.
    """

    name: str
    graph_fingerprint: str
    weights_fingerprint: str
    input_shape: tuple[int, ...]
    architecture: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str | None = None
    output: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the reference as a JSON object."""
        named = {"name": self.architecture, "config": dict(self.config)}
        return {
            "id": self.id,
            "name": self.name,
            "architecture": None if self.architecture is None else named,
            "fingerprint": {"graph": self.graph_fingerprint, "weights": self.weights_fingerprint},
            "input_shape": list(self.input_shape),
            **({} if self.output is None else {"output": self.output}),
        }

    @classmethod
    def read(cls, content: JsonField) -> "ModelReference":
        """Read what `to_json` wrote."""
        fingerprint, named = content.get("fingerprint"), content.find("architecture")
        identity, output = content.find("id"), content.find("output")
        return cls(
            name=content.get("name").text(),
            graph_fingerprint=fingerprint.get("graph").sha256(),
            weights_fingerprint=fingerprint.get("weights").sha256(),
            input_shape=tuple(each.integer(1) for each in content.get("input_shape").items()),
            architecture=None if named is None else named.get("name").text(),
            config={} if named is None else dict(named.get("config").object()),
            id=None if identity is None else identity.text(),
            output=None if output is None else output.integer(),
        )


@dataclass(frozen=True, slots=True)
class GroupRow:
    """What becomes of one group: `kept` makes applying it exact and free of data."""

    name: str
    channels: int
    kept: tuple[int, ...]
    criterion: str
    scheme: Literal["channel"] = "channel"

    @property
    def sparsity(self) -> float:
        """Fraction of the channels that is removed."""
        return 1.0 - len(self.kept) / self.channels

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        kept = list(self.kept)
        return {
            "name": self.name,
            "scheme": self.scheme,
            "sparsity": self.sparsity,
            "criterion": self.criterion,
            "channels": {"before": self.channels, "after": len(kept), "kept": kept},
        }

    @classmethod
    def read(cls, content: JsonField) -> "GroupRow":
        """Read what `to_json` wrote."""
        content.get("scheme").choice("channel")
        channels = content.get("channels")
        before, after = channels.get("before").integer(1), channels.get("after")
        kept = _read_kept(channels.get("kept"), before)
        if after.integer(1) != len(kept):
            after.refuse(f"is {after.value}, but {len(kept)} channels are kept; make them agree")
        sparsity = content.get("sparsity")
        if not 0 <= sparsity.number() < 1 or kept_channels(before, sparsity.number()) != len(kept):
            sparsity.refuse(f"is {sparsity.value}, but {len(kept)} of {before} channels are kept")
        return cls(
            name=content.get("name").text(),
            channels=before,
            kept=kept,
            criterion=content.get("criterion").text(),
        )


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One measured figure: on which images, at which fidelity. Accuracy is a fraction.

    total: images; interval: lower and upper end at 95 % confidence.
    """

    name: str
    value: float
    split: str
    fidelity: Fidelity
    total: int | None = None
    interval: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return {
            "name": self.name,
            "value": self.value,
            "split": self.split,
            "fidelity": self.fidelity,
            "total": self.total,
            "interval": None if self.interval is None else list(self.interval),
        }

    @classmethod
    def read(cls, content: JsonField) -> "MetricRow":
        """Read what `to_json` wrote."""
        total = content.find("total")
        fidelity = content.get("fidelity").choice("proxy", "confirmed")
        return cls(
            name=content.get("name").text(),
            value=content.get("value").number(),
            split=content.get("split").text(),
            fidelity=cast("Fidelity", fidelity),
            total=None if total is None else total.integer(1),
            interval=_read_interval(content.find("interval")),
        )


@dataclass(frozen=True, slots=True)
class RepairNote:
    """What happened to the weights after the cut.

    With `none`, cutting the uncut network gives the compressed one. With anything else the
    weights file of this SHA-256 holds the compressed network's weights, and so does the packed
    file of `packed_sha256`, where there is one.
    """

    method: RepairMethod = "none"
    weights_sha256: str | None = None
    packed_sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the note as a JSON object."""
        return asdict(self)

    @classmethod
    def read(cls, content: JsonField) -> "RepairNote":
        """Read what `to_json` wrote."""
        method = content.get("method").choice(*get_args(RepairMethod))
        weights, packed = content.find("weights_sha256"), content.find("packed_sha256")
        return cls(
            cast("RepairMethod", method),
            None if weights is None else weights.sha256(),
            None if packed is None else packed.sha256(),
        )


@dataclass(frozen=True, slots=True)
class TensorCut:
    """Which entries of one tensor stay: what makes applying a policy need no analysis.

    axis: along which `kept` are the remaining entries, ascending; None where `kept` are the
        tensor's new values (the channel map of a zero-pad shortcut).
    """

    tensor: str
    axis: int | None
    kept: tuple[int, ...]


def cuts_to_json(cuts: Sequence[TensorCut]) -> list[dict[str, Any]]:
    """Write cuts down, those that keep the same entries together."""
    together: dict[tuple[int, ...], list[list[Any]]] = {}
    for cut in cuts:
        together.setdefault(cut.kept, []).append([cut.tensor, cut.axis])
    return [{"kept": list(kept), "axes": axes} for kept, axes in together.items()]


def read_cuts(content: JsonField) -> tuple[TensorCut, ...]:
    """Read what `cuts_to_json` wrote."""
    cuts: list[TensorCut] = []
    for row in content.items():
        kept = tuple(index.integer() for index in row.get("kept").items())
        for pair in row.get("axes").items():
            name, axis = _pair(pair)
            if axis is not None and any(b <= a for a, b in pairwise(kept)):
                row.get("kept").refuse("does not ascend; give each entry once, ascending")
            cuts.append(TensorCut(name, axis, kept))
    return tuple(cuts)


def _pair(pair: JsonField) -> tuple[str, int | None]:
    parts = list(pair.items())
    if len(parts) != 2:
        pair.refuse(f"has {len(parts)} members; give a tensor's name and an axis, or null")
    return parts[0].text(), None if parts[1].value is None else parts[1].integer()


def group_rows(graph: LayerGraph, policy: Policy) -> tuple[GroupRow, ...]:
    """Describe a policy whose choices all name their kept channels.

    Raises:
        PolicyMismatch: the policy was made for another graph.
        PolicyInvalid: a choice does not say which channels it keeps.
    """
    policy.widths(graph)
    rows: list[GroupRow] = []
    for group, choice in zip(graph.groups, policy.choices, strict=True):
        if choice.kept is None:
            raise PolicyInvalid(
                f"group {group.name!r} does not say which channels it keeps; select them with "
                "its criterion first"
            )
        rows.append(GroupRow(group.name, group.channels, choice.kept, choice.criterion))
    return tuple(rows)


def _read_interval(interval: JsonField | None) -> tuple[float, float] | None:
    if interval is None:
        return None
    ends = [end.number() for end in interval.items()]
    if len(ends) != 2 or ends[0] > ends[1]:
        interval.refuse(f"is {interval.value}; give a lower and an upper end")
    return ends[0], ends[1]


def _read_kept(kept: JsonField, channels: int) -> tuple[int, ...]:
    previous = -1
    for index in kept.items():
        if index.integer() >= channels:
            index.refuse(f"is {index.value}; the group has channels 0 to {channels - 1}")
        if index.value <= previous:
            index.refuse(f"is {index.value} after {previous}; give each channel once, ascending")
        previous = index.value
    if previous < 0:
        kept.refuse("is empty; a group keeps at least one channel")
    return tuple(kept.value)
