"""Applying a policy document to files on this machine; the base install is enough for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from automl_api.sources import PROGRAM_SUFFIX
from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.outputs import select_output
from automl_compress.networks.program_file.reading import read_program
from automl_compress.train.checkpoint import write_tensors


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """Which policy, on which weights, to where.

    weights: of the uncut network, or that network itself, a `.pt2` file.
    tuned: of the compressed network, where it was tuned after the cut; None cuts the uncut weights.
    architecture: None takes the document's.
    """

    policy: Path
    weights: Path
    output: Path
    tuned: Path | None = None
    architecture: str | None = None


def apply_files(request: ApplyRequest) -> dict[str, Any]:
    """Write the compressed network's weights and say what it costs.

    Raises:
        PolicyInvalid: the document cannot be read.
        PolicyMismatch: it was made for another network.
        ModelInvalid: a weights file is missing, or not the right one.
        StorageFailed: the disk did not take the file.
    """
    document = PolicyDocument.load(request.policy)
    small = cut_network(
        document, request.weights, tuned=request.tuned, architecture=request.architecture
    )
    write_tensors(request.output, small.state_dict(), {"policy": document.digest})
    return {
        "output": str(request.output),
        "repair": document.repair.method,
        "is_tuned": request.tuned is not None,
        "macs": {"before": document.before.macs, "after": document.after.macs},
        "parameters": {"before": document.before.parameters, "after": document.after.parameters},
        "size_bytes": {"before": document.before.size_bytes, "after": document.after.size_bytes},
    }


def cut_network(
    document: PolicyDocument, weights: Path, *, tuned: Path | None, architecture: str | None
) -> nn.Module:
    """Return the compressed network; arguments and errors are those of `apply_files`."""
    return apply_policy(uncut_network(document, architecture, weights), document, tuned)


def uncut_network(
    document: PolicyDocument, architecture: str | None = None, weights: Path | None = None
) -> nn.Module:
    """Build the network that a document was made for.

    Args:
        document: names the architecture and its config.
        architecture: instead of the document's.
        weights: a safetensors file, or the network itself, a `.pt2` file; None leaves fresh
            weights.

    Raises:
        InvalidInput: the document names no architecture, and no `.pt2` file is given.
        UnknownName: no architecture is registered under this name.
        ModelInvalid: the file cannot be read, or is not the network's.
    """
    if weights is not None and weights.suffix == PROGRAM_SUFFIX:
        return _selected(read_program(weights).module, document)
    name = architecture or document.model.architecture
    if name is None:
        raise InvalidInput(
            f"the policy is for {document.model.name!r}, which is no registered architecture; "
            "give the .pt2 file that was compressed as --weights, or use "
            "automl_compress.apply_policy on the module, in Python"
        )
    module = build_network(name, document.model.config)
    if weights is not None:
        load_weights(module, weights)
    return _selected(module.eval(), document)


def _selected(module: nn.Module, document: PolicyDocument) -> nn.Module:
    """Let a network of several outputs give the one that the document's figures are of."""
    output = document.model.output
    return module if output is None else select_output(module, document.model.input_shape, output)
