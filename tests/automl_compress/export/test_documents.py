import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from automl_compress.compress.apply import apply_policy
from automl_compress.compress.candidate import cut_network
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import Budget, Measurement, Recipe, SpaceOptions
from automl_compress.core.document import PolicyDocument, RepairNote
from automl_compress.core.errors import PolicyMismatch, WeightsMismatch
from automl_compress.costs import compression_space
from automl_compress.export.documents import model_reference, network_bytes, policy_document
from automl_compress.networks.architectures import architecture, build_network
from automl_compress.networks.trace import Network, trace
from automl_compress.train.randomness import seeded


def uncut(name: str) -> torch.nn.Module:
    with seeded(3):
        return build_network(name).eval()


def write(network: Network, folder: Path, name: str) -> tuple[torch.nn.Module, PolicyDocument]:
    """Store a cut network of half the MACs and its document, as a job does."""
    space = compression_space(network.graph, SpaceOptions())
    selector = ChannelSelector(network)
    policy = selector.explicit(space.policy(space.uniform(Budget("macs", 0.5))))
    small = cut_network(network, selector.kept(policy))
    with torch.no_grad():  # stands for tuning: the weights no longer follow from the policy
        for parameter in small.parameters():
            parameter.mul_(1.01)
    cost = space.costs.cost(policy.widths(network.graph))
    measured = Measurement(
        cost, 0.5, 5, 10, None, None, "test: x", "confirmed", Recipe(), 0, 1, 0, 0
    )
    weights = network_bytes(small)
    (folder / "network.safetensors").write_bytes(weights)
    document = policy_document(
        network,
        model_reference(network, name, name),
        policy,
        (measured,),
        (measured,),
        RepairNote("fine-tuned", "sha256:" + hashlib.sha256(weights).hexdigest()),
        {"seed": 0},
    )
    document.save(folder / "policy.json")
    return small, document


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2", "squeezenet", "lenet-5"])
def test_apply_gives_the_stored_network_bit_for_bit(name: str, tmp_path: Path) -> None:
    offer = architecture(name)
    network = trace(uncut(name), offer.input_shape(offer.configure()))
    small, document = write(network, tmp_path, name)
    images = torch.randn(2, *network.graph.input_shape)

    applied = apply_policy(uncut(name), document, tmp_path / "network.safetensors")

    with torch.no_grad():
        assert torch.equal(applied(images), small(images))
    assert sum(p.numel() for p in applied.parameters()) == document.after.parameters


def test_apply_in_a_new_process_needs_neither_analyser_nor_data(tmp_path: Path) -> None:
    network = trace(uncut("resnet-20"), (3, 32, 32))
    small, _ = write(network, tmp_path, "resnet-20")
    images = torch.randn(2, 3, 32, 32)
    torch.save(images, tmp_path / "images.pt")
    program = f"""
import sys
for missing in ("torch_pruning", "scipy", "sklearn", "pyarrow", "stable_baselines3", "fastapi"):
    sys.modules[missing] = None
import torch
torch.set_num_threads(1)
from automl_compress import apply_policy, build_network
from automl_compress.train.randomness import seeded
with seeded(3):
    uncut = build_network("resnet-20").eval()
small = apply_policy(uncut, r"{tmp_path}/policy.json", r"{tmp_path}/network.safetensors")
images = torch.load(r"{tmp_path}/images.pt", weights_only=True)
with torch.no_grad():
    torch.save(small(images), r"{tmp_path}/logits.pt")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)

    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "logits.pt", weights_only=True), small(images))


def test_a_policy_for_another_graph_is_refused(tmp_path: Path) -> None:
    _, document = write(trace(uncut("resnet-20"), (3, 32, 32)), tmp_path, "resnet-20")

    with pytest.raises(PolicyMismatch, match="made for 'resnet-20'"):
        apply_policy(uncut("resnet-32"), document)


def test_another_networks_weights_file_is_refused(tmp_path: Path) -> None:
    small, document = write(trace(uncut("resnet-20"), (3, 32, 32)), tmp_path, "resnet-20")
    with torch.no_grad():
        next(small.parameters()).add_(1)
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(network_bytes(small))

    with pytest.raises(WeightsMismatch, match="SHA-256"):
        apply_policy(uncut("resnet-20"), document, changed)


def test_layer_costs_add_up_to_the_totals(tmp_path: Path) -> None:
    _, document = write(trace(uncut("resnet-20"), (3, 32, 32)), tmp_path, "resnet-20")

    assert sum(row.before.macs for row in document.layers) == document.before.macs
    assert sum(row.after.macs for row in document.layers) == document.after.macs
    assert sum(row.after.parameters for row in document.layers) == document.after.parameters


def test_a_document_survives_its_json(tmp_path: Path) -> None:
    _, document = write(trace(uncut("resnet-20"), (3, 32, 32)), tmp_path, "resnet-20")

    assert PolicyDocument.from_json(json.loads(json.dumps(document.to_json()))) == document
