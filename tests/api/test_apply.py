import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from automl_api.local_apply import ApplyRequest, apply_files
from automl_compress.compress.apply import tensor_cuts
from automl_compress.compress.candidate import cut_network
from automl_compress.core import Policy
from automl_compress.core.document import ModelReference, PolicyDocument, group_rows
from automl_compress.core.errors import PolicyInvalid, PolicyMismatch, WeightsMismatch
from automl_compress.costs import AnalyticCosts
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.fingerprint import graph_fingerprint, weights_fingerprint
from automl_compress.networks.trace import Network, trace
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS, write_weights

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def network() -> Network:
    module = build_network("resnet-20", DIGITS_CONFIG)
    load_weights(module, DIGITS_WEIGHTS)
    return trace(module, SHAPE)


@pytest.fixture(scope="module")
def document(network: Network) -> PolicyDocument:
    """Keeps the even channels of every group."""
    graph, costs = network.graph, AnalyticCosts(network.graph)
    kept = [tuple(range(0, group.channels, 2)) for group in graph.groups]
    widths = [len(each) for each in kept]
    return PolicyDocument(
        ModelReference(
            "net",
            graph_fingerprint(network.module, SHAPE),
            weights_fingerprint(network.module),
            SHAPE,
            "resnet-20",
            DIGITS_CONFIG,
        ),
        group_rows(graph, Policy.from_widths(graph, widths).with_kept(kept)),
        before=costs.cost(graph.full_widths),
        after=costs.cost(widths),
        cuts=tensor_cuts(network, [torch.tensor(each) for each in kept]),
    )


def request(
    tmp_path: Path, document: PolicyDocument, weights: Path = DIGITS_WEIGHTS
) -> ApplyRequest:
    document.save(tmp_path / "policy.json")
    return ApplyRequest(tmp_path / "policy.json", weights, tmp_path / "small.safetensors")


def test_a_policy_is_applied_to_files(
    tmp_path: Path, network: Network, document: PolicyDocument
) -> None:
    told = apply_files(request(tmp_path, document))

    kept = [torch.tensor(row.kept) for row in document.groups]
    expected = cut_network(network, kept).state_dict()
    found = load_tensors(tmp_path / "small.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert told["parameters"]["after"] == document.after.parameters


def test_a_policy_for_another_graph_is_refused(tmp_path: Path, document: PolicyDocument) -> None:
    other = replace(document, model=replace(document.model, graph_fingerprint="sha256:" + "1" * 64))

    with pytest.raises(PolicyMismatch, match="made for 'net'"):
        apply_files(request(tmp_path, other))
    assert not (tmp_path / "small.safetensors").exists()


def test_a_policy_that_was_changed_is_refused(tmp_path: Path, document: PolicyDocument) -> None:
    wanted = request(tmp_path, document)
    content = json.loads(wanted.policy.read_text())
    content["groups"][0]["channels"]["kept"][0] = 1
    wanted.policy.write_text(json.dumps(content))

    with pytest.raises(PolicyInvalid, match="changed after it was made"):
        apply_files(wanted)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, document: PolicyDocument) -> None:
    weights = load_file(DIGITS_WEIGHTS)
    weights["linear.weight"] = np.full_like(weights["linear.weight"], np.inf)
    broken = write_weights(tmp_path / "broken.safetensors", **weights)

    with pytest.raises(WeightsMismatch, match=r"linear\.weight"):
        apply_files(request(tmp_path, document, broken))
