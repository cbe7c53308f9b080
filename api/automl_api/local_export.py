"""Writing a compressed network for an inference engine, from a policy document and weights."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from automl_api.local_apply import uncut_network
from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput, WeightsMismatch
from automl_compress.export.formats import Exported, export_network, format_of


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a compressed network's weights come from; one of the two is enough.

    network: the compressed network's file, as the job stored it. uncut: of the uncut network,
        which the policy cuts, or that network itself, a `.pt2` file.
    """

    network: Path | None = None
    uncut: Path | None = None


def export_files(
    document: PolicyDocument,
    weights: Weights,
    output: Path,
    wanted: str | None = None,
    *,
    replaces: bool = False,
) -> Exported:
    """Build the compressed network that a document describes and write it in a format.

    Args:
        document: names a registered architecture, or `weights` has the network.
        weights: of the network.
        output: the file; its suffix says the format.
        wanted: the format, where the suffix is to be checked against it.
        replaces: whether files that exist are replaced.

    Raises:
        InvalidInput: the weights are missing or not those of the document, a file exists, or a
            package of the extra `[engines]` is not installed.
        ModelInvalid: the engine lacks an operator, or computes something else than the network.
        StorageFailed: the disk did not take a file.
    """
    format_of(output, wanted)
    module = _compressed(document, weights)
    return export_network(module, document, output, wanted, replaces=replaces)


def _compressed(document: PolicyDocument, weights: Weights) -> nn.Module:
    if weights.network is None and weights.uncut is None:
        raise InvalidInput(
            "a policy holds no weights; give --network, the compressed network's safetensors "
            "file, or --weights, the uncut network's"
        )
    if weights.network is None and document.repair.method != "none":
        raise InvalidInput(
            f"the policy's network was repaired ({document.repair.method}) after the cut, which "
            "the uncut weights do not show; give --network, the compressed network's safetensors "
            "file (automl-compress best JOB --network FILE)"
        )
    uncut = uncut_network(document, weights=weights.uncut)
    if weights.uncut is None and document.repair.weights_sha256 is None:
        # Without a digest nothing says that the file holds every tensor of the network.
        raise WeightsMismatch(
            "the policy does not say which weights file is its network's; give --weights, the "
            "uncut network's safetensors file"
        )
    return apply_policy(uncut, document, weights.network)
