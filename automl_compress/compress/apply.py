"""Applying a policy document: no search, no data, no server, and no analysis of the network."""

import hashlib
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from automl_compress.compress.input_grids import round_inputs
from automl_compress.compress.packing.container import MAGIC
from automl_compress.compress.packing.packed_network import unpacked_state
from automl_compress.compress.quantised_network import input_grid, quantise_network
from automl_compress.core.document import PolicyDocument
from automl_compress.core.document_rows import TensorCut
from automl_compress.core.errors import (
    DataInvalid,
    ModelInvalid,
    PolicyMismatch,
    WeightsMismatch,
)
from automl_compress.networks.coupling import NORMS, SOURCE_VALUES
from automl_compress.networks.fingerprint import graph_fingerprint, weights_fingerprint
from automl_compress.networks.plan import take
from automl_compress.networks.surgery import tensors_of, with_tensors
from automl_compress.networks.trace import Network

logger = logging.getLogger(__name__)


def apply_policy(
    module: nn.Module,
    policy: PolicyDocument | str | Path,
    weights: str | Path | None = None,
) -> nn.Module:
    """Return the compressed network that a policy document describes, in evaluation mode.

    Bit for bit the same on every machine: the document says which entries of which tensors
    stay, and the weights file, where the network was tuned after the cut, holds the rest.

    Args:
        module: the uncut network; stays as it is.
        policy: a document, or the path of a policy.json.
        weights: the compressed network's file, safetensors or packed; None keeps the uncut
            network's weights, without the repair that the document names, and quantises those.

    Raises:
        PolicyMismatch: the document was made for another network.
        PolicyInvalid: the document cannot be read.
        WeightsMismatch: the weights file is not the one that the document names.
        ModelInvalid: the weights file cannot be read.
    """
    document = policy if isinstance(policy, PolicyDocument) else PolicyDocument.load(policy)
    _check_graph(module, document)
    tensors = {name: tensor.detach().to("cpu") for name, tensor in tensors_of(module).items()}
    for cut in document.cuts:
        tensors[cut.tensor] = _cut(tensors, cut)
    if weights is not None:
        tensors = _with_weights(module, tensors, Path(weights), document)
    elif document.repair.method != "none":
        logger.warning(
            "the policy's network was repaired (%s) after the cut; without its weights file the "
            "cut network keeps the uncut network's weights",
            document.repair.method,
        )
    elif document.model.weights_fingerprint != weights_fingerprint(module):
        logger.warning("the network's weights are not those that the policy was found for")
    return _quantised(with_tensors(module, tensors).eval(), document, is_uncut=weights is None)


def _quantised(module: nn.Module, document: PolicyDocument, *, is_uncut: bool) -> nn.Module:
    """Let layers compute as the document says; weights from a file are on their grids already."""
    rows = {row.name: row.quantisation for row in document.layers if row.quantisation is not None}
    grids = {name: grid for name, row in rows.items() if (grid := input_grid(row)) is not None}
    if not is_uncut:
        round_inputs(module, grids)
        return module
    choices = {name: row.choice for name, row in rows.items()}
    norms = {name: row.folded_norm for name, row in rows.items() if row.folded_norm is not None}
    return quantise_network(module, choices, norms, grids).module if rows else module


def tensor_cuts(network: Network, kept: list[Tensor]) -> tuple[TensorCut, ...]:
    """Write down which entries of which tensors stay, as a policy document carries it.

    Args:
        network: a traced network.
        kept: channels of each group, ascending.
    """
    plan = network.plan
    cuts = [
        TensorCut(name, axis, tuple(entries.tolist()))
        for (name, axis), entries in plan.selections(kept).items()
        if axis != SOURCE_VALUES and (name, SOURCE_VALUES) not in plan.axes
    ]
    sources = {name for name, axis in plan.axes if axis == SOURCE_VALUES}
    whole = tensors_of(network.module)
    cut = plan.cut({name: whole[name] for name in sources}, kept)
    cuts += [
        TensorCut(name, None, tuple(cut[name].tolist()))
        for name in sorted(sources)
        if not torch.equal(cut[name], whole[name])
    ]
    return tuple(cuts)


def _check_graph(module: nn.Module, document: PolicyDocument) -> None:
    model = document.model
    try:
        found = graph_fingerprint(module, model.input_shape)
    except ModelInvalid as error:
        raise PolicyMismatch(
            f"the policy was made for {model.name!r}, which takes inputs of shape "
            f"{model.input_shape}; {error}; give the uncut network that the policy names"
        ) from error
    if found != model.graph_fingerprint:
        raise PolicyMismatch(
            f"the policy was made for {model.name!r} with graph {model.graph_fingerprint[:23]}..., "
            f"this network has {found[:23]}...; give the uncut network that the policy names"
        )


def _cut(tensors: dict[str, Tensor], cut: TensorCut) -> Tensor:
    tensor = tensors.get(cut.tensor)
    axis = 0 if cut.axis is None else cut.axis
    if tensor is None or axis >= tensor.dim():
        raise PolicyMismatch(
            f"the policy cuts axis {axis} of {cut.tensor!r}, which the network does not have; "
            "use a policy that was made for this network"
        )
    entries = torch.tensor(cut.kept, dtype=torch.int64)
    if cut.axis is None:
        return entries.to(tensor.dtype)
    if not len(entries) or int(entries[-1]) >= tensor.shape[axis]:
        raise PolicyMismatch(
            f"the policy keeps entries up to {cut.kept[-1:]} of axis {axis} of {cut.tensor!r}, "
            f"which has {tensor.shape[axis]}; use a policy that was made for this network"
        )
    return take(tensor, axis, entries)


def _with_weights(
    module: nn.Module, tensors: dict[str, Tensor], path: Path, document: PolicyDocument
) -> dict[str, Tensor]:
    """Replace the tensors by those of the file, which must be the document's."""
    try:
        content = path.read_bytes()
        if content.startswith(MAGIC):
            _check_digest(path, content, _packed_digest(path, document))
            weights = unpacked_state(content, document, _epsilons(module))
        else:
            _check_digest(path, content, document.repair.weights_sha256)
            weights = load(content)
    except (OSError, SafetensorError, DataInvalid) as error:
        raise ModelInvalid(f"the weights file {path} cannot be read: {error}") from error
    for name, tensor in weights.items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise WeightsMismatch(
                f"{path} holds {name!r} of shape {tuple(tensor.shape)}, the cut network has "
                f"{tuple(tensors[name].shape) if name in tensors else 'no such tensor'}"
            )
    return tensors | weights


def _packed_digest(path: Path, document: PolicyDocument) -> str | None:
    repair = document.repair
    if repair.packed_sha256 is None and repair.weights_sha256 is not None:
        raise WeightsMismatch(
            f"{path} is a packed file, of which the policy has none; give its safetensors file"
        )
    return repair.packed_sha256


def _check_digest(path: Path, content: bytes, expected: str | None) -> None:
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and expected.removeprefix("sha256:") != found:
        raise WeightsMismatch(
            f"{path} has SHA-256 {found[:16]}..., the policy names "
            f"{expected.removeprefix('sha256:')[:16]}...; fetch the file that belongs to it"
        )


def _epsilons(module: nn.Module) -> dict[str, float]:
    return {
        name: member.eps for name, member in module.named_modules() if isinstance(member, NORMS)
    }
