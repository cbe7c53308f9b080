"""Prune, share, code: Deep Compression on both LeNets and Fashion-MNIST.

Networks are trained, pruned in rounds with training in between, given one codebook for each layer,
whose values are trained, and packed: by entropy, and as Deep Compression does. Accuracy is
on the search split; the test split scores the compressed network and the uncut one, trained for
as many epochs more, once. Images are not augmented, as in the paper.

`one-shot` and `in-rounds` remove 90 % or 97 % of every layer's weights, with as many epochs in
all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_compress.compress.packing.codec import coded_size, entropy_bytes
from automl_compress.compress.packing.container import PackedNetwork, pack, unpack
from automl_compress.compress.packing.relative import encode_relative
from automl_compress.compress.quantisers import QuantisedTensor, create_quantiser
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData
from automl_compress.data.loading import load_data
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.checkpoint import write_tensors
from automl_compress.train.config import TrainingConfig
from automl_compress.train.pruning import prune_and_retrain
from automl_compress.train.randomness import seeded
from automl_compress.train.shared_weights import train_shared
from automl_compress.train.training import train
from automl_compress.whole_files import write_whole
from benchmarks.cells import run
from benchmarks.deep_compression_report import NAME, NETWORKS, SEEDS, SPARSE_PERCENT, write

WORK = Path(__file__).parent / "work" / NAME


@dataclass(frozen=True)
class Plan:
    """How one network is compressed: kept share of each layer, bits of its codebook, epochs."""

    kept: dict[str, float]
    bits: dict[str, int]
    epochs: int
    rounds: int
    round_epochs: int
    shared_epochs: int = 2

    @property
    def more_epochs(self) -> int:
        """Return how long the uncut network is trained alike."""
        return self.rounds * self.round_epochs + self.shared_epochs


PLANS = {
    "lenet-300-100": Plan(
        {"fc1": 0.07, "fc2": 0.09, "fc3": 0.3}, {"fc1": 4, "fc2": 4, "fc3": 4}, 20, 4, 4
    ),
    "lenet-5": Plan(
        {"conv1": 0.7, "conv2": 0.2, "fc1": 0.06, "fc2": 0.2},
        {"conv1": 6, "conv2": 5, "fc1": 4, "fc2": 4},
        8,
        4,
        3,
    ),
}
SHARED_RATE = 3e-4
ROUNDS = {"one-shot": 1, "in-rounds": 4}
ROUNDS_EPOCHS = 12


class Bench:
    """One network of one seed; each method is a cell, and leaves its network in a file."""

    def __init__(self, name: str, seed: int, data: ImageData) -> None:
        self.name, self.seed, self.data, self.plan = name, seed, data, PLANS[name]
        WORK.mkdir(parents=True, exist_ok=True)

    def trained(self) -> dict[str, Any]:
        """Train the uncut network."""
        with seeded(self.seed):
            module = build_network(self.name)
        train(module, self.data, self.config(self.plan.epochs))
        self.save("trained", module)
        return {"search_accuracy": self.accuracy(module, "search")}

    def sparse(self, percent: int, rounds: int) -> dict[str, Any]:
        """Remove so many of every layer's weights, in so many rounds."""
        module = self.load("trained")
        sparsities = dict.fromkeys(self.plan.kept, percent / 100)
        config = self.config(ROUNDS_EPOCHS // rounds)
        prune_and_retrain(module, sparsities, self.data, config, rounds=rounds)
        return {"search_accuracy": self.accuracy(module, "search")}

    def pruned(self) -> dict[str, Any]:
        """Prune in rounds."""
        module, plan = self.load("trained"), self.plan
        config = self.config(plan.round_epochs)
        sparsities = _sparsities(plan.kept)
        prune_and_retrain(module, sparsities, self.data, config, rounds=plan.rounds)
        self.save("pruned", module)
        state = module.state_dict()
        return {
            "search_accuracy": self.accuracy(module, "search"),
            "kept_weights": {
                name: int(torch.count_nonzero(state[f"{name}.weight"])) for name in plan.kept
            },
            "bytes": len(pack(state)),
        }

    def shared(self) -> dict[str, Any]:
        """Give every layer a codebook and train it."""
        module, plan = self.load("pruned"), self.plan
        kmeans = create_quantiser("kmeans")
        codes = {
            name: kmeans.fit(module.state_dict()[f"{name}.weight"], bits)
            for name, bits in plan.bits.items()
        }
        config = replace(
            self.config(plan.shared_epochs), learning_rate=SHARED_RATE, weight_decay=0.0
        )
        codes = train_shared(module, codes, self.data, config)
        tensors: dict[str, Tensor | QuantisedTensor] = dict(module.state_dict())
        tensors |= {f"{name}.weight": each for name, each in codes.items()}
        write_whole(self.file("shared"), [pack(tensors)])
        return {
            "search_accuracy": self.accuracy(module, "search"),
            "bytes": sum(map(_plain_bytes, tensors.values())),
        }

    def coded(self) -> dict[str, Any]:
        """Count the files, and each layer's codes against their entropy."""
        content = self.file("shared").read_bytes()
        network = unpack(content)
        state = build_network(self.name).state_dict()
        return {
            "uncut_bytes": sum(each.numel() * each.element_size() for each in state.values()),
            "bytes": len(pack(network.tensors)),
            "faithful_bytes": len(pack(network.tensors, encode=encode_relative)),
            "layers": _layers(network),
        }

    def tested(self) -> dict[str, Any]:
        """Train the uncut network alike; score it and the packed file on the test split."""
        uncut, compressed = self.load("trained"), build_network(self.name)
        train(uncut, self.data, self.config(self.plan.more_epochs))
        load_weights(compressed, unpack(self.file("shared").read_bytes()).state_dict())
        return {
            "uncut_accuracy": self.accuracy(uncut, "test"),
            "compressed_accuracy": self.accuracy(compressed, "test"),
        }

    def config(self, epochs: int) -> TrainingConfig:
        """Return the training of this network."""
        return TrainingConfig(epochs=epochs, learning_rate=0.05, seed=self.seed)

    def accuracy(self, module: nn.Module, split: str) -> float:
        """Score a network."""
        correct, total = evaluate_accuracy(module, self.data.split(split))
        return correct / total

    def file(self, stage: str) -> Path:
        """Name the file of a stage's network."""
        suffix = "amlc" if stage == "shared" else "safetensors"
        return WORK / f"{self.name}-{self.seed}-{stage}.{suffix}"

    def save(self, stage: str, module: nn.Module) -> None:
        """Keep a stage's network."""
        write_tensors(self.file(stage), module.state_dict(), {})

    def load(self, stage: str) -> nn.Module:
        """Return a stage's network."""
        module = build_network(self.name)
        load_weights(module, self.file(stage))
        return module


def _sparsities(kept: dict[str, float]) -> dict[str, float]:
    return {name: 1.0 - share for name, share in kept.items()}


def _plain_bytes(tensor: Tensor | QuantisedTensor) -> float:
    """Count what a tensor takes without a coder: a mask, codes of those that stay, a codebook."""
    if not isinstance(tensor, QuantisedTensor):
        return tensor.numel() * tensor.element_size()
    stored = int(torch.count_nonzero(tensor.dequantise()))
    return (tensor.codes.numel() + stored * tensor.grid.bits + tensor.grid.stored_bits) / 8


def _layers(network: PackedNetwork) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, tensor in network.tensors.items():
        if isinstance(tensor, QuantisedTensor):
            codes = tensor.codes.numpy()
            size = coded_size(codes)
            found[name.removesuffix(".weight")] = {
                "weights": codes.size,
                "zeros": float((tensor.dequantise() == 0).float().mean()),
                "entropy_bytes": entropy_bytes(codes),
                "payload_bytes": size.payload_bytes,
                "table_bytes": size.table_bytes,
                "faithful_bytes": len(encode_relative(codes)),
            }
    return found


class Works:
    """Every cell, in the order of its worth; the images are read when the first one needs them."""

    @cached_property
    def data(self) -> ImageData:
        """Load the images."""
        return replace(load_data("fashion-mnist"), augmentation=Augmentation())

    def __iter__(self) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        """Yield each cell's key and what computes it."""
        for seed in SEEDS:
            for name in NETWORKS:
                for stage in ("trained", "pruned", "shared", "coded", "tested"):
                    yield f"{name}-{seed}-{stage}", partial(self._run, name, seed, stage)
        for seed, percent in product(SEEDS, SPARSE_PERCENT):
            for how, rounds in ROUNDS.items():
                key = f"lenet-300-100-{seed}-{percent}-{how}"
                yield key, partial(self._sparse, seed, percent, rounds)

    def _run(self, name: str, seed: int, stage: str) -> dict[str, Any]:
        return getattr(Bench(name, seed, self.data), stage)()

    def _sparse(self, seed: int, percent: int, rounds: int) -> dict[str, Any]:
        return Bench("lenet-300-100", seed, self.data).sparse(percent, rounds)


if __name__ == "__main__":
    run(NAME, __doc__ or "", lambda _: Works(), write)
