"""Fitting a latency table to whole networks, some of them with layers in int8."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import nnls

from automl_compress.compress.candidate import cut_network
from automl_compress.core import Budget, CompressionSpace, LayerGraph
from automl_compress.costs.latency_model import LatencyModel
from automl_compress.costs.latency_table import Calibration, LatencyTable
from automl_compress.costs.layer_settings import INTEGER_BITS
from automl_compress.evaluate.isolated import run_isolated
from automl_compress.evaluate.latency import (
    LOW,
    engine_of,
    load_session,
    warmed,
)
from automl_compress.export.integer_onnx import with_made_up_codes
from automl_compress.export.onnx_template import OnnxTemplate
from automl_compress.export.sessions import ONNX_RUNTIME
from automl_compress.networks.trace import Network
from automl_compress.targets import Target

_NETWORK_SECONDS, _LEAST_TURNS = 0.3, 20
_CALIBRATION_NETWORKS, _INTEGER_NETWORKS = 10, 6
_SEED = 0


def calibrated(
    table: LatencyTable,
    network: Network,
    space: CompressionSpace,
    target: Target,
    go_on: Callable[[], None],
) -> LatencyTable:
    """Fit intercept and factors to whole networks, by least squares of relative errors.

    The networks have widths that a search is left with: at others, which count as the next larger
    ones of the table, sums of layers are too large, and factors would be too small. The uncut
    network has a factor of its own: every budget is a share of its time.
    """
    worthwhile = LatencyModel(space.graph, table).worthwhile(space.decisions)
    searched = CompressionSpace(space.graph, space.costs, space.options, worthwhile)
    settings = _calibration_settings(searched)
    are_integer = _integer_layers(space, len(settings))
    contents = cut_files(network, settings, are_integer, target)
    measured = np.array(
        run_isolated(measure_networks, contents, target, table.batch, _NETWORK_SECONDS, go_on=go_on)
    )
    model = LatencyModel(space.graph, table.enveloped())
    features = np.array(list(map(model.features, settings, are_integer)))
    weights = fitted_weights(features[1:], measured[1:])
    predicted = features @ weights
    uncut = float(measured[0] / predicted[0])
    predicted[0] = measured[0]
    checks = tuple(zip(predicted.tolist(), measured.tolist(), strict=True))
    call_ns, layers, elementwise_ns, integer_layers, quantising_ns = weights.tolist()
    told = Calibration(
        call_ns, layers, elementwise_ns, integer_layers, quantising_ns, checks, uncut
    )
    return replace(table, calibration=told)


def fitted_weights(features: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return weights (5,), none negative, by least squares of relative errors.

    Where one of the two kinds of layers would take no time, too few networks told them apart:
    both get one factor.

    Args:
        features: float64 (N, 5), as `LatencyModel.features` gives them.
        measured: nanoseconds (N,).
    """
    scale = features.max(axis=0)
    scale[scale == 0] = 1.0
    weights = nnls(features / scale / measured[:, None], np.ones(len(measured)))[0] / scale
    _, floats, _, integers, _ = weights
    if features[:, 3].any() and not (floats and integers):
        merged = features.copy()
        merged[:, 1] += merged[:, 3]
        merged[:, 3] = 0.0
        weights = fitted_weights(merged, measured)
        weights[3] = weights[1]
    return weights


def _calibration_settings(space: CompressionSpace) -> list[tuple[int, ...]]:
    """Return the uncut network, the smallest, and networks spread over the MACs between."""
    groups, generator = len(space.graph.groups), np.random.default_rng(_SEED)
    lowest = space.costs.cost(space.smallest).macs / space.full.macs
    found = [space.graph.full_widths, space.smallest[:groups]]
    count = _CALIBRATION_NETWORKS + (_INTEGER_NETWORKS if integer_candidates(space) else 0)
    for place in range(1, count - 1):
        ratio = lowest + (1.0 - lowest) * place / (count - 1)
        found.append(space.sample(generator, Budget("macs", min(ratio + 1e-6, 1.0)))[:groups])
    return found


def _integer_layers(space: CompressionSpace, count: int) -> np.ndarray:
    """Choose which of the L layers are computed in int8: bool (count, L).

    Of every second network some are, and of the last one all.
    """
    candidates, generator = integer_candidates(space), np.random.default_rng(_SEED)
    allowed = np.array([name in candidates for name in _dense_layers(space.graph)])
    chosen = np.zeros((count, len(allowed)), dtype=bool)
    for row in chosen[2:-1:2]:
        row[:] = allowed & (generator.random(len(allowed)) < generator.random())
    chosen[-1] = allowed
    return chosen


def _dense_layers(graph: LayerGraph) -> list[str]:
    return [layer.name for layer in graph.layers if layer.kind != "other"]


def cut_files(
    network: Network, settings: Sequence[Sequence[int]], are_integer: np.ndarray, target: Target
) -> list[bytes]:
    """Return ONNX files of cut networks, for their times.

    Args:
        network: the uncut network, traced.
        settings: kept channels of each group, of N networks; the first so many are kept.
        are_integer: bool (N, L), which layers are computed in int8, on made-up grids.
        target: for whose engine.
    """
    has_integer_biases = engine_of(target) == ONNX_RUNTIME
    template, names = OnnxTemplate(network), np.array(_dense_layers(network.graph))

    def content(setting: Sequence[int], chosen: np.ndarray) -> bytes:
        kept = [torch.arange(width) for width in setting]
        written = template.bytes_of(cut_network(network, kept))
        if not chosen.any():
            return written
        few = set(names[chosen])
        return with_made_up_codes(written, few, has_integer_biases=has_integer_biases)

    return list(map(content, settings, are_integer))


def measure_networks(
    contents: Sequence[bytes], target: Target, batch: int, seconds: float
) -> list[float]:
    """Return nanoseconds of a call of each network; all of them take turns.

    The low end of the times counts, as for layers: on a busy machine every call loses about the
    same, which changes the ratio of a small network to a large one.

    Args:
        contents: ONNX files.
        target: the engine.
        batch: images of one call.
        seconds: processor time for each, the mean.
    """
    generator = np.random.default_rng(_SEED)
    takers = [
        warmed(load_session(content, target, batch), batch, generator) for content in contents
    ]
    turns: list[list[int]] = [[] for _ in takers]
    end = time.process_time() + seconds * len(takers)
    while time.process_time() < end or len(turns[0]) < _LEAST_TURNS:
        for place in generator.permutation(len(takers)):
            turns[place].append(takers[place].least_call_ns())
    return [float(np.quantile(each, LOW)) for each in turns]


def integer_candidates(space: CompressionSpace) -> set[str]:
    """Name the layers whose weights and inputs may both get so few bits as int8 has."""
    few = [
        {
            each.target
            for each in space.decisions
            if each.kind == kind and each.allowed[0] <= INTEGER_BITS
        }
        for kind in ("weight_bits", "activation_bits")
    ]
    return few[0] & few[1]
