"""An AGMC encoder as a file: what one search learned about networks, for another search."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from automl_compress.core import Snapshot
from automl_compress.core.errors import InvalidInput
from automl_compress.train.checkpoint import read_checkpoint, write_checkpoint
from automl_envs.decision_state import DECISION_STATE
from automl_envs.network_graph import NODE_FEATURES, RELATIONS

IN_SNAPSHOT = "policy.actor.features_extractor.encoder."
LAYOUT = {
    "kind": "graph-encoder",
    "node_features": list(NODE_FEATURES),
    "relations": list(RELATIONS),
    "group_state": list(DECISION_STATE),
}


def save_encoder(snapshot: Snapshot, path: str | Path) -> None:
    """Write the encoder of an AGMC searcher to a safetensors file.

    Args:
        snapshot: what the searcher's `snapshot` returned.
        path: of the file; its folder must exist.

    Raises:
        InvalidInput: the searcher has no encoder.
        StorageFailed: the file cannot be written.
    """
    weights = {
        name.removeprefix(IN_SNAPSHOT): torch.from_numpy(array.copy())
        for name, array in snapshot.arrays.items()
        if name.startswith(IN_SNAPSHOT)
    }
    if not weights:
        raise InvalidInput(
            "this snapshot holds no graph encoder; take that of an agmc searcher whose encoder "
            "is 'trained' or 'frozen_random'"
        )
    write_checkpoint(Path(path), weights, LAYOUT)


def read_encoder(path: str | Path) -> dict[str, Tensor]:
    """Read what `save_encoder` wrote.

    Raises:
        InvalidInput: the file is something else, was written for other features, or holds
            values that are not finite.
    """
    try:
        weights, layout = read_checkpoint(Path(path))
    except InvalidInput as error:
        raise InvalidInput(
            f"{path} is not a graph encoder ({error.__cause__}); give the path of a file that "
            "save_encoder wrote"
        ) from error
    _check(path, layout, weights)
    return weights


def _check(path: str | Path, layout: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    if layout.get("kind") != LAYOUT["kind"]:
        raise InvalidInput(
            f"{path} is not a graph encoder; give the path of a file that save_encoder wrote"
        )
    if layout != LAYOUT:
        raise InvalidInput(
            f"{path} was written for other node features or relations than this version has; "
            "train the encoder anew"
        )
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise InvalidInput(
            f"{path} holds values that are not finite, in {broken[0]}; train the encoder anew"
        )
