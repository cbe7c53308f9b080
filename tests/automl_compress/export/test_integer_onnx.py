"""Quantised networks whose ONNX file computes in int8, in both engines."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.quantised_network import quantise_network
from automl_compress.core import LayerChoice
from automl_compress.export.agreement import check_agreement
from automl_compress.export.integer_onnx import weight_grid, with_integer_layers
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.sessions import ONNX_RUNTIME, onnxruntime_session, openvino_session
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.export.conftest import NEEDS_ONNX, NEEDS_OPENVINO
from tests.automl_compress.networks import topologies as made
from tests.automl_compress.networks import zoo
from tests.automl_compress.networks.counting import settled

IMAGE = (3, 8, 8)


def traced(module: nn.Module) -> Network:
    return trace(settled(module, IMAGE), IMAGE)


def chain() -> nn.Module:
    """Convolutions in a row, each behind a ReLU."""
    convolutions = [made.normalised(3 if place == 0 else 8, 8) for place in range(5)]
    return made.Classifier(nn.Sequential(*convolutions), 8)


NETWORKS: dict[str, Callable[[], Network]] = {
    "residual": lambda: traced(made.Classifier(made.Residual("option A"), 12)),
    "depthwise": lambda: traced(made.depthwise_pair()),
    "linear": lambda: zoo.traced("lenet-300-100"),
    "pooled": lambda: zoo.traced("lenet-5"),
}


IN_BYTES = {"residual": 8, "depthwise": 8, "pooled": 5}  # bits of inputs
NEEDS_VNNI = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported(),
    reason="this processor lacks VNNI: sums of products with 8-bit weights overflow in OpenVINO",
)


def layers_of(network: Network) -> list[str]:
    return [layer.name for layer in network.graph.layers if layer.kind != "other"]


def quantised(network: Network, choices: dict[str, LayerChoice]) -> nn.Module:
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(16, *network.graph.input_shape, generator=generator)
    batches = [(images, torch.zeros(16, dtype=torch.int64))]
    grids = InputGrids(network.module, list(choices), batches)
    rounded = {
        name: grids.of(name, choice.activation_bits)
        for name, choice in choices.items()
        if choice.rounds_inputs
    }
    return quantise_network(network.module, choices, network.plan.norm_after, rounded).module


def operators(content: bytes) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load_model_from_string(content).graph.node)


def agreement(content: bytes, module: nn.Module, shape: tuple[int, ...]) -> float:
    session = onnxruntime_session(content)
    return check_agreement((ONNX_RUNTIME, "x"), session.run, module, shape).difference


@NEEDS_OPENVINO
@pytest.mark.parametrize(
    ("name", "weight_bits", "input_bits"),
    [
        *[pytest.param(name, 8, bits, marks=NEEDS_VNNI) for name, bits in IN_BYTES.items()],
        *[(name, 7, bits) for name, bits in IN_BYTES.items()],
        ("linear", 4, 8),
    ],
)
def test_both_engines_compute_what_the_network_does(
    name: str, weight_bits: int, input_bits: int
) -> None:
    network = NETWORKS[name]()
    layers = layers_of(network)
    module = quantised(
        network, {each: LayerChoice(each, 0.0, weight_bits, input_bits) for each in layers}
    )
    written = onnx_bytes(module, network.graph.input_shape)

    content, integer = with_integer_layers(written)

    assert sorted(integer) == sorted(f"{each}.weight" for each in layers)
    assert operators(content)["QuantizeLinear"] == len(layers)
    # Fewer codes than a byte has are rounded as before, and then written as bytes.
    assert operators(content)["Round"] < len(layers) or input_bits < 8
    agreement(content, module, network.graph.input_shape)
    images = np.random.default_rng(0).normal(size=(4, *network.graph.input_shape))
    images = images.astype(np.float32)
    found, expected = (
        openvino_session(content).run(images),
        onnxruntime_session(content).run(images),
    )
    # Where an engine adds in another order, single codes differ by one.
    assert np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()) < 0.05


@NEEDS_ONNX
def test_only_layers_with_both_on_grids_become_integer() -> None:
    network = zoo.traced("lenet-5")
    first, second, third, last = layers_of(network)
    choices = {
        first: LayerChoice(first, 0.0, 8, 8),
        second: LayerChoice(second, 0.0, 8, 32),  # weights alone: storage
        third: LayerChoice(third, 0.0, 32, 8),  # inputs alone
        last: LayerChoice(last, 0.0, 8, 16),  # more codes than a byte has
    }
    module = quantised(network, choices)

    content, integer = with_integer_layers(onnx_bytes(module, network.graph.input_shape))

    assert integer == (f"{first}.weight",)
    assert operators(content)["QuantizeLinear"] == 1
    assert operators(content)["Round"] == 3
    agreement(content, module, network.graph.input_shape)


@NEEDS_ONNX
def test_onnx_runtime_computes_in_integers_where_told_and_nowhere_else(tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    network = traced(chain())
    layers = layers_of(network)
    excluded = {layers[2]}
    choices = {each: LayerChoice(each, 0.0, 8, 8) for each in layers if each not in excluded}
    written = onnx_bytes(quantised(network, choices), network.graph.input_shape)
    content, integer = with_integer_layers(written, has_integer_biases=True)
    assert len(integer) == len(layers) - 1

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        content,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["WeightBiasQuantization"],
    )
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    # Of five convolutions the third is float, and what the second and the last give goes into
    # the third and into a mean without being rounded.
    assert found["QLinearConv"] == 2
    assert found["Conv"] + found["FusedConv"] == 3


@NEEDS_ONNX
def test_a_float_network_stays_as_it_is() -> None:
    network = zoo.traced("lenet-5")
    written = onnx_bytes(network.module, network.graph.input_shape)

    content, integer = with_integer_layers(written)

    assert integer == ()
    assert operators(content) == operators(written)


@given(
    st.integers(2, 8),
    st.integers(1, 6),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1]),
)
def test_grids_are_found_again(bits: int, outputs: int, inputs: int, seed: int, axis: int) -> None:
    rng = np.random.default_rng(seed)
    limit = 2 ** (bits - 1) - 1
    codes = rng.integers(-limit, limit + 1, size=(outputs, inputs))
    scales = np.exp(rng.normal(-4, 2, size=(outputs, 1))).astype(np.float32)
    weight = codes.astype(np.float32) * scales
    if axis:
        weight = weight.T

    found = weight_grid(weight, axis)

    assert found is not None
    assert np.abs(found[0]).max() <= (63 if bits < 8 else 127)
    shape = (1, -1) if axis else (-1, 1)
    again = found[0] * found[1].reshape(shape)
    assert found[0].dtype == np.int8
    assert (np.abs(again - weight) <= 1.01e-3 * found[1].reshape(shape)).all()


@given(st.integers(2, 8), st.integers(2, 6), st.integers(0, 2**32 - 1), st.sampled_from([0, 1]))
def test_one_grid_for_all_outputs_is_found_as_such(
    bits: int, outputs: int, seed: int, axis: int
) -> None:
    rng, limit = np.random.default_rng(seed), 2 ** (bits - 1) - 1
    codes = rng.integers(-limit, limit + 1, size=(outputs, 40))
    codes[0, 0] = limit
    scale = np.exp(rng.normal(-4, 2)).astype(np.float32)
    weight = codes.astype(np.float32) * scale

    found = weight_grid(weight.T if axis else weight, axis)

    assert found is not None
    assert found[1].shape == ()
    assert np.abs(found[0]).max() <= (63 if bits < 8 else 127)
    again = found[0] * found[1]
    assert np.abs((again.T if axis else again) - weight).max() <= 1.01e-3 * found[1]


@NEEDS_ONNX
@pytest.mark.parametrize("has_integer_biases", [True, False])
def test_one_scale_is_written_as_one(has_integer_biases: bool) -> None:
    import onnx

    network = traced(chain())
    layers = layers_of(network)
    choices = {each: LayerChoice(each, 0.0, 7, 8, "max", "tensor") for each in layers}
    module = quantised(network, choices)

    content, integer = with_integer_layers(
        onnx_bytes(module, network.graph.input_shape), has_integer_biases=has_integer_biases
    )

    assert sorted(integer) == sorted(f"{each}.weight" for each in layers)
    graph = onnx.load_model_from_string(content).graph
    found = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    for name in integer:
        weight = module.get_parameter(name).detach().numpy()
        codes, scale = found[f"{name}_codes"], found[f"{name}_scales"]
        assert scale.shape == ()
        assert np.abs(codes * scale - weight).max() <= 1e-3 * scale
    agreement(content, module, network.graph.input_shape)


def test_weights_on_no_grid_have_none() -> None:
    rng = np.random.default_rng(0)

    assert weight_grid(rng.normal(size=(3, 50)).astype(np.float32), 0) is None
    codebook = rng.normal(size=16).astype(np.float32)[rng.integers(16, size=(3, 50))]
    assert weight_grid(codebook, 0) is None


def test_outputs_without_weights_have_codes_of_zero() -> None:
    found = weight_grid(np.zeros((2, 3, 1, 1), dtype=np.float32), 0)

    assert found is not None
    assert not found[0].any()
    assert (found[1] == 1).all()
