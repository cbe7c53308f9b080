"""How a network runs: arithmetic, traffic and zeros of its layers, with models of what they cost.

Only counts are measured. What memory-bound means and what a picojoule buys are models, of no
machine in particular; a target's measured latency (docs/latency.md) is not replaced by them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from automl_compress.core.json_field import JsonField

Compute = Literal["float32", "int8"]
Bound = Literal["compute", "memory"]

#: Multiply-accumulates for each byte moved below which a layer waits for memory (the ridge point
#: of Williams, Waterman and Patterson, Roofline, CACM 2009): a core of 50 G float32 MACs and
#: 10 GB a second, and four times as many in int8.
RIDGE: Mapping[Compute, float] = {"float32": 5.0, "int8": 20.0}
#: Picojoules of a multiplication and an addition at 45 nm (Horowitz, ISSCC 2014, figure 1.1.9):
#: 3.7 + 0.9 in float32; 0.2 + 0.1 of int8 products summed in int32.
MAC_PICOJOULES: Mapping[Compute, float] = {"float32": 4.6, "int8": 0.3}
#: Of a byte out of DRAM, and out of a small cache: 640 and 5 pJ for 32 bits (Han et al., EIE, ISCA
#: 2016, table 1, after Horowitz).
DRAM_PICOJOULES_A_BYTE = 160.0
CACHE_PICOJOULES_A_BYTE = 1.25


@dataclass(frozen=True, slots=True)
class LayerExecution:
    """A convolution or linear layer, for one image.

    compute: the numbers that engines can compute it in. macs: multiply-accumulates.
    nonzero_macs: those whose weight and input both are not zero, which hardware that skips zeros
    is left with; the mean over images. weight_bytes, activation_bytes: weights, and inputs with
    outputs, each once, as such numbers.
    """

    name: str
    compute: Compute
    macs: int
    nonzero_macs: int
    weight_bytes: int
    activation_bytes: int

    @property
    def bytes_moved(self) -> int:
        """What passes between memory and arithmetic at least."""
        return self.weight_bytes + self.activation_bytes

    @property
    def bound(self) -> Bound:
        """What the layer waits for on the model's core."""
        is_fed = self.macs >= RIDGE[self.compute] * self.bytes_moved
        return "compute" if is_fed else "memory"

    @property
    def time(self) -> float:
        """How long the model's core takes, in float32 multiply-accumulates."""
        most = max(self.macs / RIDGE[self.compute], float(self.bytes_moved))
        return RIDGE["float32"] * most

    @property
    def picojoules(self) -> float:
        """The energy: arithmetic, weights out of DRAM, activations out of a cache."""
        return (
            MAC_PICOJOULES[self.compute] * self.macs
            + DRAM_PICOJOULES_A_BYTE * self.weight_bytes
            + CACHE_PICOJOULES_A_BYTE * self.activation_bytes
        )

    def to_json(self) -> dict[str, Any]:
        """Return the layer as a JSON object; `bound` is for readers alone."""
        return {
            "name": self.name,
            "compute": self.compute,
            "macs": self.macs,
            "nonzero_macs": self.nonzero_macs,
            "weight_bytes": self.weight_bytes,
            "activation_bytes": self.activation_bytes,
            "bound": self.bound,
        }

    @classmethod
    def read(cls, content: JsonField) -> "LayerExecution":
        """Read what `to_json` wrote; raises PolicyInvalid."""
        return cls(
            content.get("name").text(),
            "int8" if content.get("compute").choice("float32", "int8") == "int8" else "float32",
            content.get("macs").integer(),
            content.get("nonzero_macs").integer(),
            content.get("weight_bytes").integer(),
            content.get("activation_bytes").integer(),
        )


@dataclass(frozen=True, slots=True)
class Execution:
    """A network, for one image.

    peak_activation_bytes: the most that inputs and results held at once while torch ran it, in
        float32. layers: in the order of the graph.
    """

    peak_activation_bytes: int
    layers: tuple[LayerExecution, ...]

    @property
    def nonzero_macs(self) -> int:
        """Multiply-accumulates of no zero, of all layers."""
        return sum(layer.nonzero_macs for layer in self.layers)

    @property
    def energy_nanojoules(self) -> float:
        """The modelled energy of all layers."""
        return round(sum(layer.picojoules for layer in self.layers) / 1000, 3)

    @property
    def memory_share(self) -> float:
        """The share of the modelled time in layers that wait for memory, 0 to 1."""
        waiting = sum(layer.time for layer in self.layers if layer.bound == "memory")
        return waiting / max(sum(layer.time for layer in self.layers), 1e-9)

    @property
    def bottleneck(self) -> Bound:
        """What most of the modelled time goes by."""
        return "memory" if self.memory_share > 0.5 else "compute"

    def to_json(self) -> dict[str, Any]:
        """Return the network as a JSON object; what is modelled is for readers alone."""
        return {
            "peak_activation_bytes": self.peak_activation_bytes,
            "nonzero_macs": self.nonzero_macs,
            "energy_nanojoules": self.energy_nanojoules,
            "memory_share": round(self.memory_share, 6),
            "bottleneck": self.bottleneck,
            "layers": [layer.to_json() for layer in self.layers],
        }

    @classmethod
    def read(cls, content: JsonField) -> "Execution":
        """Read what `to_json` wrote; raises PolicyInvalid."""
        layers = tuple(LayerExecution.read(each) for each in content.get("layers").items())
        return cls(content.get("peak_activation_bytes").integer(), layers)


@dataclass(frozen=True, slots=True)
class ExecutionChange:
    """How the uncut and the compressed network run."""

    before: Execution
    after: Execution

    def figures(self) -> Iterator[tuple[str, float, float]]:
        """Yield a title, and the figure of the uncut and of the compressed network."""
        before, after = self.before, self.after
        peaks = before.peak_activation_bytes, after.peak_activation_bytes
        yield "peak activation bytes, float32", *peaks
        yield "MACs of no zero", before.nonzero_macs, after.nonzero_macs
        yield "energy in nJ, a model", before.energy_nanojoules, after.energy_nanojoules

    def to_json(self) -> dict[str, Any]:
        """Return both as a JSON object."""
        return {"before": self.before.to_json(), "after": self.after.to_json()}

    @classmethod
    def read(cls, content: JsonField) -> "ExecutionChange":
        """Read what `to_json` wrote; raises PolicyInvalid."""
        return cls(Execution.read(content.get("before")), Execution.read(content.get("after")))
