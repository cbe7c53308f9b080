"""What a compressed network costs, what it may cost, and what the search may cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from automl_compress.core.errors import InvalidInput

Metric = Literal["macs", "parameters", "size_bytes", "bit_operations", "micronet", "latency_ns"]
METRICS: tuple[Metric, ...] = get_args(Metric)
#: Of whole networks alone, and not always known: 0 then.
NETWORK_METRICS: tuple[Metric, ...] = ("micronet", "latency_ns")
LAYER_METRICS: tuple[Metric, ...] = tuple(each for each in METRICS if each not in NETWORK_METRICS)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network costs.

    macs: multiply-accumulates of one forward pass at batch 1.
    parameters: trainable numbers.
    size_bytes: of a float network the payload of its state dict, buffers included; of one with
        quantised or sparse layers its packed file, before it exists an upper bound of it.
    bit_operations: multiply-accumulates with weights that are not zero, each times its weight
        bits times its activation bits.
    micronet: score of the MicroNet Challenge, in billionths; see `costs.micronet_scores`. 0 where
        was not counted, as in trials and documents from before it was.
    latency_ns: time of one call on the study's target, predicted by its latency table; 0 where
        the study has no target, and left out of JSON then.
    """

    macs: int
    parameters: int
    size_bytes: int
    bit_operations: int
    micronet: int = 0
    latency_ns: int = 0

    def of(self, metric: Metric) -> int:
        """Return the cost in one metric."""
        return getattr(self, metric)

    def to_json(self) -> dict[str, int]:
        """Return the costs as a JSON object; what nobody counted is left out."""
        return counted(asdict(self))


def counted(costs: Mapping[str, int]) -> dict[str, int]:
    """Leave out what nobody counted, which `Cost`, and what was stored once, tell as 0."""
    return {
        metric: value for metric, value in costs.items() if value or metric not in NETWORK_METRICS
    }


@dataclass(frozen=True, slots=True)
class Budget:
    """What the compressed network may cost at most, as the ratio that is kept.

    ratio 0.5 keeps at most half of the uncut network's `metric`; in (0, 1].
    """

    metric: Metric
    ratio: float

    def __post_init__(self) -> None:
        """Refuse unknown metrics and ratios outside (0, 1]."""
        if self.metric not in METRICS:
            raise InvalidInput(
                f"a budget cannot limit {self.metric!r}; choose one of: {', '.join(METRICS)}"
            )
        if not 0.0 < self.ratio <= 1.0:
            raise InvalidInput(
                f"a budget of {self.ratio!r} is not a ratio of what is kept; "
                "give a number above 0 and at most 1 (0.5 keeps half)"
            )

    def limit(self, full: Cost) -> int:
        """Return the largest allowed cost, given the uncut network's."""
        return int(self.ratio * full.of(self.metric) + 1e-9)

    def allows(self, cost: Cost, full: Cost) -> bool:
        """Say whether a network of this cost is within the budget."""
        return cost.of(self.metric) <= self.limit(full)


@dataclass(frozen=True, slots=True)
class Effort:
    """What the search may cost: it ends at whichever comes first.

    evaluations: in units of a full proxy evaluation, everything counted; at least 1.
    wall_seconds: since the study began; None for no limit.
    trial_seconds: an evaluation that takes longer is killed and has failed; None for a limit
        that follows from the time of the uncut network.
    trial_memory_bytes: of the process that evaluates; None for no limit.
    """

    evaluations: float
    wall_seconds: float | None = None
    trial_seconds: float | None = None
    trial_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse efforts that would end before they begin."""
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not value > 0:
                raise InvalidInput(f"effort.{each.name} is {value!r}; give a number above 0")
        if self.evaluations < 1:
            raise InvalidInput(
                f"effort.evaluations is {self.evaluations!r}, less than one candidate takes; give "
                "at least 1"
            )
