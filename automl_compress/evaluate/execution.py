"""How a network runs, watched while it does: peak of its activations, traffic, zeros."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import finalize

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from automl_compress.core import LayerGraph
from automl_compress.core.document import PolicyDocument
from automl_compress.core.execution import Compute, Execution, ExecutionChange, LayerExecution
from automl_compress.costs.layer_settings import INTEGER_BITS
from automl_compress.data.datasets import Split
from automl_compress.networks.entering import entered
from automl_compress.networks.surgery import cut_module
from automl_compress.networks.trace import Network

IMAGES = 32  # over which zeros are counted
_BYTES: Mapping[Compute, int] = {"float32": 4, "int8": 1}
_CONVOLVE: Mapping[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}


def execution_change(
    network: Network, document: PolicyDocument, compressed: nn.Module, train: Split
) -> ExecutionChange:
    """Run the uncut and the compressed network, and say how each ran.

    Args:
        network: the uncut one, traced.
        document: what was made of it.
        compressed: as it is handed out, in evaluation mode.
        train: zeros are counted over its first images.
    """
    graph = network.graph
    images, _ = next(train.subset(0, min(IMAGES, len(train))).batches(IMAGES))
    # Rounding leaves numbers float here, and holds some for a moment that no engine has.
    kept = [torch.tensor(row.kept) for row in document.groups]
    as_float = cut_module(network.module, network.plan, kept)
    quantised = {row.name: row.quantisation.choice for row in document.layers if row.quantisation}
    integer = {
        name
        for name, choice in quantised.items()
        if max(choice.weight_bits, choice.activation_bits) <= INTEGER_BITS
    }
    return ExecutionChange(
        Execution(
            peak_activation_bytes(network.module, images[:1]),
            layer_executions(network.module, graph, frozenset(), images),
        ),
        Execution(
            peak_activation_bytes(as_float, images[:1]),
            layer_executions(compressed, graph, integer, images),
        ),
    )


@torch.no_grad()
def peak_activation_bytes(module: nn.Module, images: Tensor) -> int:
    """Return the most bytes that the images and results hold at once; weights do not count.

    Args:
        module: in evaluation mode; run as it is, without anything fused.
        images: (B, *input_shape).
    """
    tensors = [*module.parameters(), *module.buffers()]
    # A copy that this call alone refers to ends when the network has no more use for it.
    with _LiveBytes({each.untyped_storage().data_ptr() for each in tensors}) as live:
        module(live.counted(images.clone()))
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operators return, until they are freed."""

    def __init__(self, ignored: set[int]) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._known = ignored

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self.counted(each)
        return result

    def counted(self, tensor: Tensor) -> Tensor:
        """Count a tensor's storage, unless it was counted before."""
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self._now += size
            self.peak = max(self.peak, self._now)
            finalize(storage, self._freed, key, size)
        return tensor

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


@torch.no_grad()
def layer_executions(
    module: nn.Module, graph: LayerGraph, integer: set[str] | frozenset[str], images: Tensor
) -> tuple[LayerExecution, ...]:
    """Watch the convolutions and linear layers of a network run.

    Args:
        module: in evaluation mode.
        graph: of the uncut network, which names the layers.
        integer: layers that engines can compute in int8.
        images: (B, *input_shape).
    """
    watched = [layer.name for layer in graph.layers if layer.kind != "other"]
    counts = {name: _Counts() for name in watched}
    with ExitStack() as hooks:
        for name, count in counts.items():
            layer = module.get_submodule(name)
            hooks.enter_context(layer.register_forward_hook(count, with_kwargs=True))
        module(images)
    return tuple(
        count.execution(name, module, "int8" if name in integer else "float32", len(images))
        for name, count in counts.items()
    )


class _Counts:
    """What passed through one layer, in all of its uses."""

    def __init__(self) -> None:
        self._macs = self._nonzero = self._activations = 0

    def __call__(self, layer: Any, arguments: Any, keywords: Any, output: Tensor) -> None:
        inputs = entered(arguments, keywords)
        weights_each = layer.weight[0].numel()  # that one output entry is summed from
        self._macs += output.numel() * weights_each
        self._nonzero += nonzero_macs(layer, inputs)
        self._activations += inputs.numel() + output.numel()

    def execution(
        self, name: str, module: nn.Module, compute: Compute, images: int
    ) -> LayerExecution:
        weights: Any = module.get_submodule(name).weight
        return LayerExecution(
            name,
            compute,
            self._macs // images,
            round(self._nonzero / images),
            _BYTES[compute] * weights.numel(),
            _BYTES[compute] * self._activations // images,
        )


def nonzero_macs(layer: Any, inputs: Tensor) -> int:
    """Count the multiply-accumulates of a layer whose two factors are both not zero.

    Args:
        layer: a convolution or linear layer.
        inputs: what enters it, batched.
    """
    inputs, weights = (inputs != 0).float(), (layer.weight != 0).float()
    if isinstance(layer, nn.Linear):
        return int(F.linear(inputs, weights).sum(dtype=torch.float64))
    padding: Any = layer.padding
    if layer.padding_mode != "zeros":
        inputs = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
        padding = 0
    convolve = next(each for kind, each in _CONVOLVE.items() if isinstance(layer, kind))
    parts: Sequence[Any] = layer.stride, padding, layer.dilation, layer.groups
    return int(convolve(inputs, weights, None, *parts).sum(dtype=torch.float64))
