"""Files of cut networks that are filled, not exported."""

import pytest
import torch
from torch import nn

from automl_compress.compress.candidate import cut_network
from automl_compress.core.errors import ModelInvalid
from automl_compress.export import onnx_template
from automl_compress.export.agreement import check_agreement
from automl_compress.export.onnx_template import OnnxTemplate
from automl_compress.export.sessions import onnxruntime_session, openvino_session
from automl_compress.networks.trace import Network
from tests.automl_compress.export.conftest import NEEDS_ONNX, NEEDS_OPENVINO
from tests.automl_compress.networks import zoo

pytestmark = [NEEDS_ONNX, NEEDS_OPENVINO]


def unevenly_cut(network: Network) -> nn.Module:
    """Keep every group's channels but a few, as many as its place says."""
    kept = [
        torch.arange(place % 3, channels) for place, channels in enumerate(network.plan.channels)
    ]
    return cut_network(network, kept)


# Shortcuts that pad, depthwise pairs and clipped activations, flattened maps, unfolded norms.
@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2", "lenet-5", "densenet-bc-100"])
def test_a_filled_file_computes_what_the_cut_network_computes(name: str) -> None:
    network = zoo.traced(name)
    template, module = OnnxTemplate(network), unevenly_cut(network)

    content = template.bytes_of(module)

    for session in (onnxruntime_session(content), openvino_session(content)):
        check_agreement(("engine", ""), session.run, module, network.graph.input_shape)
    uncut = onnxruntime_session(template.bytes_of(network.module))
    check_agreement(("engine", ""), uncut.run, network.module, network.graph.input_shape)


def test_a_network_whose_file_holds_its_sizes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_template, "_free_flattening", lambda *arguments: None)
    network = zoo.traced("lenet-5")  # flattens as many values as the uncut network has

    with pytest.raises(ModelInvalid, match="export each version by itself"):
        OnnxTemplate(network)
