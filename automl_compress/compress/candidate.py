"""Building the cut network of a policy: real tensors, with or without repair."""

from collections.abc import Sequence

from torch import Tensor, nn

from automl_compress.compress.reconstruction import Reconstruction, from_kernel_major
from automl_compress.networks.surgery import tensors_of, with_tensors
from automl_compress.networks.trace import Network


def cut_tensors(
    network: Network, kept: Sequence[Tensor], reconstruction: Reconstruction | None = None
) -> dict[str, Tensor]:
    """Return all tensors of the cut network, by name.

    Args:
        network: a traced network.
        kept: channels of each group, ascending.
        reconstruction: solves the layers that lose inputs; None leaves their weights alone.
    """
    plan = network.plan
    tensors = plan.cut(tensors_of(network.module), kept)
    if reconstruction is None:
        return tensors
    selections = plan.selections(kept)
    for layer in reconstruction.layers:
        inputs = selections.get((f"{layer}.weight", 1))
        if inputs is not None:
            _take_solution(network, layer, reconstruction, inputs, selections, tensors)
    return tensors


def _take_solution(
    network: Network,
    layer: str,
    reconstruction: Reconstruction,
    inputs: Tensor,
    selections: dict[tuple[str, int], Tensor],
    tensors: dict[str, Tensor],
) -> None:
    solved = reconstruction.solve(layer, inputs)
    outputs = selections.get((f"{layer}.weight", 0))

    def keep(values: Tensor) -> Tensor:
        return values if outputs is None else values.index_select(0, outputs)

    shape = tensors[f"{layer}.weight"].shape
    tensors[f"{layer}.weight"] = from_kernel_major(keep(solved.weight), shape).contiguous()
    if solved.bias is not None:
        tensors[f"{layer}.bias"] = keep(solved.bias)
    if solved.norm_mean is not None and solved.norm_variance is not None:
        norm = network.plan.norm_after[layer]
        tensors[f"{norm}.running_mean"] = keep(solved.norm_mean)
        tensors[f"{norm}.running_var"] = keep(solved.norm_variance)


def cut_network(
    network: Network, kept: Sequence[Tensor], reconstruction: Reconstruction | None = None
) -> nn.Module:
    """Return the physically smaller module, in evaluation mode."""
    return with_tensors(network.module, cut_tensors(network, kept, reconstruction)).eval()
