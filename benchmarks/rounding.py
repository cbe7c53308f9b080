"""What quantised candidates cost: their forward pass, and switching between them.

The same uncut network as float and with all weights and inputs at random bits, interleaved, one
thread, process CPU time. Switching is timed between candidates of the same channels, once every
layer has been quantised to every bit-width.
"""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from automl_compress.compress.input_grids import InputGrids
from automl_compress.core import LayerChoice
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.candidates import candidates_of
from automl_compress.networks.architectures import build_network
from automl_compress.networks.trace import Network, trace
from benchmarks import cifar, records
from benchmarks.evaluation import cpu_seconds

IMAGES = 320
BATCH = 32
ROUNDS = 15
BITS = (2, 3, 4, 5, 6, 7, 8)


def compare(network: Network, images: torch.Tensor) -> dict[str, float]:
    """Return the ratio of forward passes, and milliseconds of one switch."""
    names = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    batches = [each.contiguous(memory_format=torch.channels_last) for each in images.split(BATCH)]
    labels = torch.zeros(BATCH, dtype=torch.int64)
    grids = InputGrids(network.module, names, [(each, labels) for each in batches[:2]])
    candidates, rng = candidates_of(network, None, grids), np.random.default_rng(0)
    kept = [torch.arange(channels) for channels in network.plan.channels]

    def drawn(bits: tuple[int, ...]) -> Candidate:
        layers = {
            name: LayerChoice(name, 0.0, int(rng.choice(bits)), int(rng.choice(bits)))
            for name in names
        }
        return Candidate(kept, layers)

    for bits in BITS:
        candidates.of(drawn((bits,)))
    plain = candidates.of(Candidate(kept))
    float_seconds, rounded_seconds, switches = [], [], []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            switch, rounded = cpu_seconds(lambda: candidates.of(drawn(BITS)))
            switches.append(switch)
            float_seconds.append(cpu_seconds(_run(plain, batches))[0])
            rounded_seconds.append(cpu_seconds(_run(rounded, batches))[0])
    return {
        "forward_ratio": round(
            max(
                statistics.median(rounded_seconds) / statistics.median(float_seconds),
                min(rounded_seconds) / min(float_seconds),
            ),
            2,
        ),
        "switch_ms": round(1000 * statistics.median(switches), 2),
    }


def _run(forward: Any, batches: list[torch.Tensor]) -> Callable[[], None]:
    def run() -> None:
        for images in batches:
            forward(images)

    return run


def main() -> None:
    """Compare both networks; write the results."""
    torch.set_num_threads(1)
    data = cifar.cifar()
    images = next(iter(data.split("search").subset(0, IMAGES).batches(IMAGES)))[0]
    resnet = trace(cifar.resnet(56), data.input_shape)
    mobilenet = trace(build_network("mobilenet-v2").eval(), data.input_shape)
    summary: dict[str, float] = {}
    for name, network in (("resnet56", resnet), ("mobilenetv2", mobilenet)):
        found = compare(network, images)
        summary |= {f"{name}.{key}": value for key, value in found.items()}
    for key, value in summary.items():
        print(f"{key:32s} {value}")
    records.save("rounding", summary, {}, [0])


if __name__ == "__main__":
    main()
