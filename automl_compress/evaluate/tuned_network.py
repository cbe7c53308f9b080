"""Compressed networks after their tuning: what they cost, and how right they are."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automl_compress.core import Cost, Measurement, Policy, Recipe
from automl_compress.core.layer_rows import LayerQuantisation
from automl_compress.core.policy import FLOAT_BITS
from automl_compress.core.recipe import Backend
from automl_compress.costs import LatencyTable, PolicyCosts
from automl_compress.data.datasets import ImageData
from automl_compress.networks import devices
from automl_compress.networks.trace import Network
from automl_compress.train.accuracy import evaluate_accuracy


@dataclass(frozen=True)
class TunedNetwork:
    """A compressed network in evaluation mode.

    quantisation: by layer; empty where all layers stay float, and `packed` is None then: the
    bytes of its packed file.
    """

    module: nn.Module
    quantisation: Mapping[str, LayerQuantisation] = field(
        default_factory=dict[str, LayerQuantisation]
    )
    packed: bytes | None = None


class TunedScores:
    """Measures the tuned networks of one uncut network."""

    def __init__(
        self,
        network: Network,
        data: ImageData,
        recipe: Recipe,
        seed: int,
        table: LatencyTable | None = None,
        device: torch.device = devices.PROCESSOR,
    ) -> None:
        """Prepare.

        Args:
            network: uncut, traced.
            data: its splits score.
            recipe: of the search, for the measurements; what is tuned runs in torch.
            seed: of the search, for the measurements.
            table: times on the study's target, where it has one.
            device: what computes the tuned networks.
        """
        self._network, self._data, self._device = network, data, device
        backend: Backend = "torch" if device == devices.PROCESSOR else "cuda"
        self._recipe, self._seed = replace(recipe, backend=backend), seed
        self._costs = PolicyCosts(network.graph, table)
        #: What the uncut network costs.
        self.full = self._costs.full

    def counted(self, policy: Policy) -> Cost:
        """Return what a policy costs by formula, as the search counts it."""
        return self._costs.cost(policy)

    def measured(self, network: TunedNetwork, policy: Policy, split_name: str) -> Measurement:
        """Score a tuned network on all images of a split; its costs are counted on itself."""
        wall, cpu = time.perf_counter(), time.process_time()
        split = self._data.split(split_name)
        correct, total = evaluate_accuracy(devices.copied_to(network.module, self._device), split)
        return Measurement(
            cost=self._cost(network, policy),
            score=correct / total,
            correct=correct,
            total=total,
            cross_entropy=None,
            kl=None,
            split=f"{split_name}: {split.provenance}",
            fidelity="confirmed",
            recipe=self._recipe,
            seed=self._seed,
            evaluations=0.0,
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
        )

    def _cost(self, network: TunedNetwork, policy: Policy) -> Cost:
        told = self._costs.cost(policy)
        if network.packed is None and policy.layers:
            return told  # on its way to a packed file, whose bytes have an upper bound
        counted = count_cost(network.module, self._network.graph.input_shape)
        counted = replace(counted, micronet=told.micronet, latency_ns=told.latency_ns)
        if network.packed is None:
            return counted
        # Which bits multiply which is the policy's, not to be seen in a module of floats.
        return replace(counted, size_bytes=len(network.packed), bit_operations=told.bit_operations)


def count_cost(module: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Count a network's cost on the network itself, independently of the analytic model.

    Its MicroNet score and its latency are left at 0: they need a graph.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(torch.zeros(1, *input_shape))
    return Cost(
        macs=counter.get_total_flops() // 2,  # the counter counts multiplies and adds
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        size_bytes=sum(
            tensor.numel() * tensor.element_size() for tensor in module.state_dict().values()
        ),
        bit_operations=counter.get_total_flops() // 2 * FLOAT_BITS * FLOAT_BITS,
    )
