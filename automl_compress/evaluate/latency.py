"""How long an engine takes for a network on this machine.

Wall times of a busy machine rank networks little better than chance. The processor time of the
calling process, in turns with that of a reference network, does: what disturbs the one (clock
rate, caches) disturbs the other, and the ratio stays.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from automl_compress.core.errors import InvalidInput, UnknownName
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.export.engines import version_of
from automl_compress.export.sessions import (
    ONNX_RUNTIME,
    OPENVINO,
    Session,
    onnxruntime_session,
    openvino_session,
)
from automl_compress.targets import TARGETS, Target

BLOCKS = 10
LOW = 0.1  # quantile of times of which only the undisturbed ones count
_WARM_CALLS = 5
_LEAST_ROUNDS = 2 * BLOCKS
_LEAST_SAMPLE_NS = 200_000  # below it the clock's own cost shows


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """How a latency is measured.

    batch: images of one call. seconds: processor time for the network and its reference
    together; 0.2 ranks candidates of a search, 0.8 is for figures that are shown. seed: of the
    images and of the order of turns.
    """

    batch: int = 1
    seconds: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if self.batch < 1 or not 0 < self.seconds <= 3600:
            raise InvalidInput(
                f"batch is {self.batch} and seconds {self.seconds:g}; give a batch of at least 1 "
                "and a time above 0, at most 3600"
            )


@dataclass(frozen=True, slots=True)
class LatencyMeasurement:
    """A network's latency on one target, with how it was measured.

    cpu_ms, reference_cpu_ms: processor time of one call, the median over rounds.
    wall_ms: the least wall time of one call.
    ratio: cpu time of the network by that of the reference, the median over rounds; below 1
        is faster than the reference.
    spread: standard deviation of the ratio over 10 consecutive blocks of rounds, by its mean.
    rounds: turns of network and reference, each of them `calls` calls long.
    load: processes that wanted a processor, the mean of the minute before the end.
    blocks: the ratio in each block.
    """

    target: Target
    engine_version: str
    processor: str
    plan: LatencyPlan
    threads: int
    cpu_ms: float
    reference_cpu_ms: float
    wall_ms: float
    ratio: float
    spread: float
    rounds: int
    calls: int
    load: float
    blocks: tuple[float, ...]

    @property
    def speedup(self) -> float:
        """How many times as fast as the reference."""
        return 1.0 / self.ratio

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as a JSON object."""
        return asdict(self) | {"blocks": list(self.blocks), "speedup": self.speedup}


def measure_latency(
    path: Path, target: Target, reference: Path | None = None, plan: LatencyPlan | None = None
) -> LatencyMeasurement:
    """Measure a network in an engine, one thread, in a process of its own.

    That process is spawned: a script calls this behind `if __name__ == "__main__"`.

    Args:
        path: an ONNX file; for OpenVINO an `.xml` too.
        target: names the engine.
        reference: the network that it takes turns with; None takes the network itself, whose
            ratio then shows what the method can tell apart.
        plan: how; None takes batch 1 and 0.8 s.

    Raises:
        UnknownName: there is no such target.
        InvalidInput: a file is missing, or the engine is not installed.
        ModelInvalid: the engine cannot run a network.

    Source: the interleaved ratio of processor times was compared with wall and processor times
    of one network at a time, by Kendall's tau against a long measurement: 0.79 at 0.2 s and
    0.92 at 0.8 s, where the median of wall times reached 0.38 and 0.68.
    """
    if target not in TARGETS:
        raise UnknownName("latency target", target, TARGETS)
    paths = (path, path if reference is None else reference)
    for each in paths:
        if not each.is_file():
            raise InvalidInput(f"there is no file {each}; export the network first")
    # Another engine's threads, or torch's, would be charged to this one.
    return run_isolated(_measure, paths, target, plan or LatencyPlan())


@dataclass(frozen=True, slots=True)
class _Sample:
    cpu_ns: int
    wall_ns: int


def _measure(paths: tuple[Path, Path], target: Target, plan: LatencyPlan) -> LatencyMeasurement:
    generator = np.random.default_rng(plan.seed)
    takers = [warmed(_session(path, target, plan.batch), plan.batch, generator) for path in paths]
    calls = max(taker.calls for taker in takers)
    takers = [replace(taker, calls=calls) for taker in takers]
    rounds = _rounds([taker.sample for taker in takers], plan.seconds, generator)
    ratios = [network.cpu_ns / reference.cpu_ns for network, reference in rounds]
    blocks = [float(median(block)) for block in np.array_split(ratios, BLOCKS)]
    return LatencyMeasurement(
        target=target,
        engine_version=version_of(engine_of(target)),
        processor=processor_name(),
        plan=plan,
        threads=1,
        cpu_ms=median(network.cpu_ns for network, _ in rounds) / calls / 1e6,
        reference_cpu_ms=median(reference.cpu_ns for _, reference in rounds) / calls / 1e6,
        wall_ms=min(network.wall_ns for network, _ in rounds) / calls / 1e6,
        ratio=median(ratios),
        spread=float(np.std(blocks, ddof=1) / np.mean(blocks)),
        rounds=len(rounds),
        calls=calls,
        load=os.getloadavg()[0],
        blocks=tuple(blocks),
    )


@dataclass(frozen=True)
class Taker:
    """A loaded network that takes turns with others, so many calls at a time."""

    session: Session
    images: np.ndarray
    calls: int

    def sample(self) -> "_Sample":
        """Take one turn, behind a call that fills the caches, as a caller's earlier ones would."""
        self.session.run(self.images)
        return _sample(self.session, self.images, self.calls)

    def least_call_ns(self) -> int:
        """Return the least processor time of a turn's calls, after one that fills the caches."""
        self.session.run(self.images)
        return min(_sample(self.session, self.images, 1).cpu_ns for _ in range(self.calls))


def warmed(session: Session, batch: int, generator: np.random.Generator) -> Taker:
    """Call a network some times, and find how many calls the clock can tell from none."""
    images = generator.standard_normal((batch, *session.input_shape), np.float32)
    for _ in range(_WARM_CALLS):
        session.run(images)
    once = _sample(session, images, _WARM_CALLS).cpu_ns / _WARM_CALLS
    return Taker(session, images, max(1, round(_LEAST_SAMPLE_NS / max(once, 1))))


def load_session(content: bytes, target: Target, batch: int) -> Session:
    """Load an ONNX file into a target's engine, for calls of so many images."""
    if target == "cpu-openvino":
        return openvino_session(content, batch)
    return onnxruntime_session(content)


def engine_of(target: Target) -> str:
    """Return the package of a target's engine."""
    return ONNX_RUNTIME if target == "cpu-onnxruntime" else OPENVINO


def _session(path: Path, target: Target, batch: int) -> Session:
    if path.suffix == ".xml":
        return openvino_session(path, batch)
    return load_session(path.read_bytes(), target, batch)


def _sample(session: Session, images: np.ndarray, calls: int) -> _Sample:
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    for _ in range(calls):
        session.run(images)
    return _Sample(time.process_time_ns() - cpu, time.perf_counter_ns() - wall)


def _rounds(
    takers: Sequence[Callable[[], _Sample]], seconds: float, generator: np.random.Generator
) -> list[list[_Sample]]:
    """Let network and reference take turns, in changing order, until the time is spent."""
    rounds: list[list[_Sample]] = []
    spent = 0
    while spent < seconds * 1e9 or len(rounds) < _LEAST_ROUNDS:
        taken: dict[int, _Sample] = {}
        for place in generator.permutation(len(takers)):
            taken[int(place)] = takers[place]()
        rounds.append([taken[place] for place in range(len(takers))])
        spent += sum(sample.cpu_ns for sample in taken.values())
    return rounds


def processor_name() -> str:
    """Return what this machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor())[:100] or "unknown"
