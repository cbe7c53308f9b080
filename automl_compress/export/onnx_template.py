"""ONNX files of many cut versions of one network, each made in milliseconds.

The exporter takes seconds for a network, and says the same of every cut version but for the
weights. So the uncut network is exported once, and its file is filled with other weights.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.quantised_network import norm_scale_and_shift
from automl_compress.core.errors import ModelInvalid
from automl_compress.export.agreement import TOLERANCE, random_images
from automl_compress.export.engines import require
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.sessions import onnxruntime_session
from automl_compress.networks.surgery import tensors_of, with_tensors
from automl_compress.networks.trace import Network

_DENSE = ("Conv", "Gemm", "MatMul")
_NORM = ("running_mean", "running_var", "weight", "bias")


class OnnxTemplate:
    """Writes float versions of one network as ONNX files, batch norms folded."""

    def __init__(self, network: Network) -> None:
        """Export the uncut network, and prove the template on one with half of every group.

        Raises:
            InvalidInput: a package of the extra `[engines]` is missing.
            ModelInvalid: the network cannot be exported, or its file holds sizes that no filling
                of weights changes.
        """
        onnx = require("onnx", "an ONNX file")
        self._network = network
        content = onnx_bytes(_with_odd_biases(network.module), network.graph.input_shape)
        self._model: Any = onnx.load_model_from_string(content)
        self._from_array = onnx.numpy_helper.from_array
        self._dense = {layer.weight for layer in network.graph.layers if layer.kind != "other"}
        self._depthwise = {layer.weight for layer in network.graph.layers if layer.is_depthwise}
        written = {each.name: tuple(each.dims) for each in self._model.graph.initializer}
        self._biases = {
            node.input[1]: node.input[2]
            for node in self._model.graph.node
            if node.op_type in _DENSE and len(node.input) > 2 and node.input[1] in self._dense
        }
        self._maps = _channel_maps(self._model, network.module, onnx.numpy_helper.to_array)
        self._folded = {
            layer: norm
            for layer, norm in network.plan.norm_after.items()
            if f"{norm}.running_mean" not in written and f"{layer}.weight" in written
        }
        _free_flattening(self._model, onnx.numpy_helper)
        self._prove()

    def bytes_of(self, module: nn.Module) -> bytes:
        """Return a version of the network as an ONNX file.

        Args:
            module: the network with other weights, or with channels cut; in evaluation mode.
        """
        tensors = tensors_of(module)
        values = dict(tensors)
        for layer in (name.rpartition(".")[0] for name in self._dense):
            self._put_layer(layer, tensors, values)
        values |= {name: tensors[source] for name, source in self._maps.items()}
        model = type(self._model)()
        model.CopyFrom(self._model)
        for initializer in model.graph.initializer:
            value = values.get(initializer.name)
            if value is not None:
                array = np.ascontiguousarray(value.numpy())
                initializer.CopyFrom(self._from_array(array, initializer.name))
        for node in model.graph.node:
            if node.op_type == "Conv" and node.input[1] in self._depthwise:
                groups = next(each for each in node.attribute if each.name == "group")
                groups.i = len(values[node.input[1]])
        return model.SerializeToString(deterministic=True)

    def _put_layer(
        self, layer: str, tensors: Mapping[str, Tensor], values: dict[str, Tensor]
    ) -> None:
        name = f"{layer}.weight"
        bias = tensors.get(f"{layer}.bias")
        norm = self._folded.get(layer)
        if norm is not None:
            parts = {
                each: tensors[f"{norm}.{each}"] for each in _NORM if f"{norm}.{each}" in tensors
            }
            scale, shift = norm_scale_and_shift(self._network.module.get_submodule(norm), parts)
            weight = tensors[name]
            values[name] = weight * scale.view(-1, *[1] * (weight.dim() - 1))
            bias = shift if bias is None else shift + bias * scale
        if name in self._biases and bias is not None:
            values[self._biases[name]] = bias

    @torch.no_grad()
    def _prove(self) -> None:
        graph, plan = self._network.graph, self._network.plan
        half = [torch.arange(0, channels, 2) for channels in plan.channels]
        module = cut_network(self._network, half)
        images = random_images(3, graph.input_shape)
        expected = module(images).numpy()
        try:
            found = onnxruntime_session(self.bytes_of(module)).run(images.numpy())
        except Exception as error:  # whatever an engine raises
            raise _unfit(str(error).strip()[:300]) from error
        if found.shape != expected.shape:
            raise _unfit(f"outputs of shape {found.shape} instead of {expected.shape}")
        difference = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
        if not difference <= TOLERANCE:  # not a number, too
            raise _unfit(f"outputs that differ by {difference:.1e}")


def _unfit(reason: str) -> ModelInvalid:
    return ModelInvalid(
        "the network's ONNX file cannot be filled with the weights of cut versions, one with half "
        f"of every group gave: {reason}; export each version by itself"
    )


def _with_odd_biases(module: nn.Module) -> nn.Module:
    """Return a copy in which every layer adds something, and no two do the same.

    The exporter leaves away a bias of zeros, and shares what is equal.
    """
    generator = torch.Generator().manual_seed(0)
    tensors = tensors_of(module)
    odd: dict[str, Tensor] = {}
    for path, member in module.named_modules():
        if isinstance(member, _BatchNorm | _ConvNd | nn.Linear):
            own = ("bias",) if isinstance(member, _ConvNd | nn.Linear) else _NORM
            for name in (f"{path}.{part}" for part in own):
                if name in tensors:
                    odd[name] = torch.rand(tensors[name].shape, generator=generator) + 0.5
    return with_tensors(module, odd).eval()


def _channel_maps(model: Any, module: nn.Module, to_array: Any) -> dict[str, str]:
    """Find the initializers that hold a network's tensors of indices, in the order of both."""
    sources = {
        name: tensor.numpy()
        for name, tensor in tensors_of(module).items()
        if tensor.dtype == torch.int64 and tensor.dim() == 1
    }
    found: dict[str, str] = {}
    for initializer in model.graph.initializer:
        if initializer.name in sources or len(initializer.dims) != 1:
            continue
        array = to_array(initializer)
        for name, values in sources.items():
            if name not in found.values() and np.array_equal(array, values):
                found[initializer.name] = name
                break
    return found


def _free_flattening(model: Any, numpy_helper: Any) -> None:
    """Let flattened maps be of any size: the batch is taken over, the rest follows."""
    constants = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or list(shape.dims) != [2]:
            continue
        if numpy_helper.to_array(shape)[0] in (-1, 0):
            free = np.array([0, -1], dtype=np.int64)
            shape.CopyFrom(numpy_helper.from_array(free, shape.name))
            for attribute in node.attribute:
                if attribute.name == "allowzero":
                    attribute.i = 0  # a zero then stands for the axis as it comes
