"""Does a PruningNet rank structures as fine-tuning does? (methods.md 1.4, test d.)

`python -m benchmarks.pruning_net` measures it for ResNet-20 on CIFAR-10 JPEG and prints it.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from automl_compress.core import (
    Budget,
    Policy,
    PruningNetConfig,
    Recipe,
    SpaceOptions,
)
from automl_compress.costs import compression_space
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.evaluator import PolicyEvaluator
from automl_compress.networks.trace import Network, trace
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.config import TrainingConfig
from automl_compress.train.pruning_net import TrainedPruningNet, prepare_pruning_net
from automl_compress.train.training import train
from benchmarks.cifar import cifar, resnet


@dataclass(frozen=True)
class Agreement:
    """How two ways to score the same structures agree.

    generated: scores with generated weights; inherited: with cut weights, under the same repair.
    tuned: accuracy of the cut trained weights after fine-tuning, on the search split.
    """

    generated: tuple[float, ...]
    inherited: tuple[float, ...]
    tuned: tuple[float, ...]
    training_cpu_seconds: float

    def spearman(self, scores: tuple[float, ...]) -> float:
        """Return the rank correlation with fine-tuned accuracy."""
        correlated: Any = spearmanr(scores, self.tuned)
        return float(correlated.statistic)

    def to_json(self) -> dict[str, Any]:
        return {
            "spearman_generated": self.spearman(self.generated),
            "spearman_inherited": self.spearman(self.inherited),
            "generated": self.generated,
            "inherited": self.inherited,
            "tuned": self.tuned,
            "training_cpu_seconds": self.training_cpu_seconds,
        }


def measure_agreement(
    network: Network,
    data: ImageData,
    recipe: Recipe,
    tuning: TrainingConfig,
    budget: Budget,
    structures: int = 10,
) -> Agreement:
    """Score structures with generated weights, and fine-tune the same from cut ones.

    Args:
        network: traced, trained.
        data: the search split scores, the train split trains.
        recipe: takes its weights from a PruningNet.
        tuning: of the fine-tuned ones.
        budget: they are drawn at it, as a search compares them; costs alone rank no structure.
        structures: how many.
    """
    space = compression_space(network.graph, SpaceOptions())
    trained = prepare_pruning_net(network, data, space, recipe)
    assert trained is not None
    rng = np.random.default_rng(0)
    policies = [space.policy(space.sample(rng, budget)) for _ in range(structures)]
    inherited = replace(recipe, weights="inherited", pruning_net=None)
    generating = _evaluator(network, data, recipe, trained)
    plain = _evaluator(network, data, inherited, None)
    return Agreement(
        tuple(generating.evaluate(policy).score for policy in policies),
        tuple(plain.evaluate(policy).score for policy in policies),
        tuple(_tuned_accuracy(plain, policy, data, tuning) for policy in policies),
        trained.cpu_seconds,
    )


def _evaluator(
    network: Network, data: ImageData, recipe: Recipe, trained: TrainedPruningNet | None
) -> PolicyEvaluator:
    net = None if trained is None else trained.net
    return PolicyEvaluator(network, data.split("search"), data.split("train"), recipe, net)


def _tuned_accuracy(
    evaluator: PolicyEvaluator, policy: Policy, data: ImageData, tuning: TrainingConfig
) -> float:
    module = evaluator.repaired_network(policy)
    train(module, data, tuning)
    correct, total = evaluate_accuracy(module, data.split("search"))
    return correct / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12_800, help="of the train split")
    parser.add_argument("--rank", type=int, default=PruningNetConfig().rank)
    parser.add_argument("--structures", type=int, default=10)
    parser.add_argument("--ratio", type=float, default=0.5, help="of the MACs that are kept")
    told = parser.parse_args()
    data = cifar(told.images)
    recipe = Recipe(
        repair="recalibration",
        signal="cross_entropy",
        images=1000,
        weights="pruning_net",
        pruning_net=PruningNetConfig(rank=told.rank, epochs=2),
    )
    tuning = TrainingConfig(epochs=1, learning_rate=0.01)
    began = time.perf_counter()
    network = trace(resnet(20), data.input_shape)
    budget = Budget("macs", told.ratio)
    found = measure_agreement(network, data, recipe, tuning, budget, told.structures)
    wall_seconds = time.perf_counter() - began
    print(json.dumps({**found.to_json(), "wall_seconds": wall_seconds}, indent=1))


if __name__ == "__main__":
    main()
