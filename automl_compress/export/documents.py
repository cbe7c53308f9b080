"""The files of a compressed network: its policy document and its weights."""

import math
import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save

from automl_compress.compress.apply import tensor_cuts
from automl_compress.core import Cost, LayerChoice, LayerGraph, Measurement, Policy
from automl_compress.core.document import (
    LayerQuantisation,
    LayerRow,
    MetricRow,
    ModelReference,
    PolicyDocument,
    RepairNote,
    group_rows,
)
from automl_compress.core.interval import wilson_interval
from automl_compress.costs import LatencyTable, PolicyCosts
from automl_compress.networks.fingerprint import weights_fingerprint
from automl_compress.networks.outputs import selected_output
from automl_compress.networks.trace import Network


def network_bytes(module: torch.nn.Module) -> bytes:
    """Return a network's state dict as a safetensors file."""
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    return save(state)


def model_reference(
    network: Network,
    name: str,
    architecture: str | None = None,
    config: Mapping[str, Any] | None = None,
    identity: str | None = None,
) -> ModelReference:
    """Describe the uncut network as policy documents name it."""
    return ModelReference(
        name=name,
        graph_fingerprint=network.graph.fingerprint,
        weights_fingerprint=weights_fingerprint(network.module),
        input_shape=network.graph.input_shape,
        architecture=architecture,
        config=dict(config or {}),
        id=identity,
        output=selected_output(network.module),
    )


def policy_document(
    network: Network,
    model: ModelReference,
    policy: Policy,
    measurements: tuple[Measurement, ...],
    baseline: tuple[Measurement, ...],
    repair: RepairNote,
    provenance: Mapping[str, Any],
    quantisation: Mapping[str, LayerQuantisation] | None = None,
    *,
    table: LatencyTable | None = None,
    latency: Mapping[str, Any] | None = None,
    identity: str | None = None,
    created: str | None = None,
) -> PolicyDocument:
    """Write a policy down with everything that is known of it.

    Args:
        network: the uncut network, traced.
        model: its description.
        policy: with explicit channels.
        measurements: of the compressed network, the most trustworthy first; its costs count.
        baseline: of the uncut network.
        repair: what happened to the weights after the cut, and the SHA-256 of their files.
        provenance: searcher, seed, job ...; the versions are added here.
        quantisation: what becomes of layers, by name; None leaves all float.
        table: times on the study's target, where it has one.
        latency: how fast the network was there, where that was measured.
        identity: the document's id.
        created: when it is written, RFC 3339.

    Raises:
        PolicyMismatch: the policy was made for another graph.
        PolicyInvalid: a choice does not say which channels it keeps.
    """
    groups, costs = group_rows(network.graph, policy), PolicyCosts(network.graph, table)
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return PolicyDocument(
        model=model,
        groups=groups,
        cuts=tensor_cuts(network, [torch.tensor(row.kept) for row in groups]),
        before=costs.full,
        after=measurements[0].cost,
        metrics=tuple(_accuracy(each) for each in measurements),
        baseline=tuple(_accuracy(each) for each in baseline),
        layers=_layer_rows(network.graph, policy, quantisation or {}, costs),
        repair=repair,
        provenance={**provenance, "versions": {**provenance.get("versions", {}), **versions}},
        latency=latency,
        id=identity,
        created=created,
    )


def _accuracy(measurement: Measurement) -> MetricRow:
    return MetricRow(
        name="accuracy",
        value=measurement.accuracy,
        split=measurement.split,
        fidelity=measurement.fidelity,
        total=measurement.total,
        interval=wilson_interval(measurement.correct, measurement.total),
    )


def _layer_rows(
    graph: LayerGraph,
    policy: Policy,
    quantisation: Mapping[str, LayerQuantisation],
    costs: PolicyCosts,
) -> tuple[LayerRow, ...]:
    """Say of each layer what it costs before and after."""
    widths = policy.widths(graph)
    uncut, cut = costs.layer_latencies(), costs.layer_latencies(policy)
    return tuple(
        LayerRow(
            name=layer.name,
            operator=layer.operator,
            group=None if layer.output_group is None else graph.groups[layer.output_group].name,
            before=replace(
                _layer_cost(graph, layer.name, graph.full_widths),
                latency_ns=uncut.get(layer.name, 0),
            ),
            after=replace(
                _layer_cost(graph, layer.name, widths, quantisation.get(layer.name)),
                latency_ns=cut.get(layer.name, 0),
            ),
            quantisation=quantisation.get(layer.name),
        )
        for layer in graph.layers
    )


def _layer_cost(
    graph: LayerGraph,
    layer: str,
    widths: tuple[int, ...],
    quantisation: LayerQuantisation | None = None,
) -> Cost:
    """Count one layer; bytes of quantised weights are those of their codes, uncoded."""
    macs = parameters = 0
    stored_bits = operations = 0.0
    choice = LayerChoice(layer) if quantisation is None else quantisation.choice
    for tensor in graph.tensors:
        if tensor.name.rpartition(".")[0] == layer:
            entries = 1
            for axis in tensor.axes:
                entries *= axis.size(widths)
            macs += entries * tensor.positions
            parameters += entries * tensor.is_parameter
            is_weight = tensor.positions > 0
            bits = choice.weight_bits if is_weight else 8 * tensor.item_bytes
            stored_bits += entries * bits * (1.0 - choice.sparsity * is_weight)
    operations = macs * (1.0 - choice.sparsity) * choice.weight_bits * choice.activation_bits
    return Cost(macs, parameters, math.ceil(stored_bits / 8), math.ceil(operations))
