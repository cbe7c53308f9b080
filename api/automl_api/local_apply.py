"""Applying a policy document to files on this machine; the base install is enough for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.train.checkpoint import write_tensors


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """Which policy, on which weights, to where.

    weights: of the uncut network. tuned: of the compressed network, where it was tuned after
        the cut; None cuts the uncut weights. architecture: None takes the document's.
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
    module = uncut_network(document, request.architecture)
    load_weights(module, request.weights)
    small = apply_policy(module, document, request.tuned)
    write_tensors(request.output, small.state_dict(), {"policy": document.digest})
    return {
        "output": str(request.output),
        "repair": document.repair.method,
        "is_tuned": request.tuned is not None,
        "macs": {"before": document.before.macs, "after": document.after.macs},
        "parameters": {"before": document.before.parameters, "after": document.after.parameters},
        "size_bytes": {"before": document.before.size_bytes, "after": document.after.size_bytes},
    }


def uncut_network(document: PolicyDocument, architecture: str | None = None) -> nn.Module:
    """Build the network that a document was made for, with fresh weights.

    Args:
        document: names the architecture and its config.
        architecture: instead of the document's.

    Raises:
        InvalidInput: the document names no architecture.
        UnknownName: none is registered under this name.
    """
    name = architecture or document.model.architecture
    if name is None:
        raise InvalidInput(
            f"the policy is for {document.model.name!r}, which is no registered architecture; "
            "use automl_compress.apply_policy on the module, in Python"
        )
    return build_network(name, document.model.config)
