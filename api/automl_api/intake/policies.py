"""A policy that a user brought, tried on the network that it is for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_api.sources import ModelSource
from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import PolicyInvalid, PolicyMismatch
from automl_compress.evaluate.tuned_network import count_cost
from automl_compress.networks.fingerprint import weights_fingerprint


def check_policy(source: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
    """Cut the network as the policy says, run it, and count what it costs.

    Args:
        source: `model`, as `ModelSource` writes it, `document`, and `weights`: where the
            compressed network's file lies, or None.
        data_dir: what paths are relative to.

    Raises:
        PolicyMismatch: the document was made for another network.
        PolicyInvalid: it cannot be read, or tells other costs than the network has.
        WeightsMismatch: the weights are not those that it names.
    """
    torch.set_num_threads(1)
    document = PolicyDocument.from_json(source["document"])
    uncut, input_shape = ModelSource.from_json(source["model"]).load_for_images(data_dir)
    weights = None if source["weights"] is None else data_dir / source["weights"]
    try:
        small = apply_policy(uncut, document, weights)
        _check_costs(small, document, input_shape)
    except (RuntimeError, IndexError) as error:  # of torch, where cuts do not go together
        raise PolicyMismatch(
            f"the network cannot run when it is cut as the policy says: {error}; use a policy that "
            "was made for this network"
        ) from error
    return {"is_same_weights": document.model.weights_fingerprint == weights_fingerprint(uncut)}


def _check_costs(small: nn.Module, document: PolicyDocument, shape: tuple[int, ...]) -> None:
    counted = count_cost(small, shape)
    for metric in ("macs", "parameters"):
        told, found = getattr(document.after, metric), getattr(counted, metric)
        if told != found:
            raise PolicyInvalid(
                f"/totals/{metric}/after is {told:,}, but the network that the policy cuts has "
                f"{found:,} {metric}; write the document again"
            )
