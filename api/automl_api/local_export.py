"""Writing a compressed network for an inference engine, from a policy document and weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from automl_api.local_apply import uncut_network
from automl_compress.compress.apply import apply_policy
from automl_compress.core.confirmation import EngineFormat
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput, WeightsMismatch
from automl_compress.export.formats import (
    Exported,
    export_subject,
    format_of,
    suffix_of,
)
from automl_compress.export.subject import Subject


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
    report: bytes | None = None,
) -> Exported:
    """Build the compressed network that a document describes and write it in a format.

    Args:
        document: names a registered architecture, or `weights` has the network.
        weights: of the network.
        output: the file; its suffix says the format.
        wanted: the format, where the suffix is to be checked against it.
        replaces: whether files that exist are replaced.
        report: of the search, for a bundle.

    Raises:
        InvalidInput: the weights are missing or not those of the document, a file exists, or a
            package of the extra `[engines]` is not installed.
        ModelInvalid: the engine lacks an operator, or computes something else than the network.
        StorageFailed: the disk did not take a file.
    """
    format_of(output, wanted)
    subject = replace(_subject(document, weights), report=report)
    return export_subject(subject, output, wanted, replaces=replaces)


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """A compressed network and the formats that are wanted of it.

    path: of the files, whose suffixes the formats say; their folder is there.
    report: of the search, for a bundle.
    """

    document: PolicyDocument
    weights: Weights
    path: Path
    formats: tuple[EngineFormat, ...]
    report: bytes | None = None


#: By format the files, the main one last, and how they were checked; or why there are none.
ExportNotes = dict[str, dict[str, Any]]


def export_orders(orders: Sequence[ExportOrder]) -> list[ExportNotes]:
    """Write several networks for engines, on one thread: the work of a process of its own.

    A format that cannot be written takes no other along: its note has the `failure`.

    Raises:
        StorageFailed: the disk did not take a file.
    """
    torch.set_num_threads(1)
    return [_export_order(order) for order in orders]


def _export_order(order: ExportOrder) -> ExportNotes:
    subject = replace(_subject(order.document, order.weights), report=order.report)
    notes: ExportNotes = {}
    for name in order.formats:
        try:
            exported = export_subject(subject, order.path.with_suffix(suffix_of(name)), name)
        except InvalidInput as error:
            notes[name] = {"failure": str(error)}
        else:
            assert exported.agreement is not None
            notes[name] = {
                "files": [path.name for path in exported.files],
                **exported.agreement.to_json(),
                "integer_layers": list(exported.integer_layers),
            }
    return notes


def _subject(document: PolicyDocument, weights: Weights) -> Subject:
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
    module = apply_policy(uncut, document, weights.network)
    return Subject(module.eval(), document, uncut)
