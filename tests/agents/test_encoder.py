from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.nn import RGCNConv

from automl_agents.reinforcement.encoder import GraphEncoder
from automl_agents.reinforcement.encoder_file import read_encoder, save_encoder
from automl_compress.core import Snapshot
from automl_compress.core.errors import InvalidInput
from automl_envs.network_graph import RELATIONS, NetworkGraph, network_graph
from tests.fakes import plain_graph, residual_graph, space_of

GRAPH = residual_graph()
NETWORK = network_graph(space_of(GRAPH))
GROUPS = len(GRAPH.groups)


def encoder_of(network: NetworkGraph = NETWORK) -> GraphEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return GraphEncoder(network, width=12, rounds=3, embedding=7)


def states(rng: np.random.Generator, batch: int = 6) -> Tensor:
    removed = rng.random((batch, GROUPS), dtype=np.float32)
    undecided = rng.random((batch, GROUPS)) < 0.5
    current = np.eye(GROUPS, dtype=np.float32)[rng.integers(0, GROUPS, batch)]
    return torch.from_numpy(np.stack([removed, undecided.astype(np.float32), current], axis=1))


def permuted(network: NetworkGraph, order: np.ndarray) -> NetworkGraph:
    """The same network; node `order[i]` comes to stand at place i."""
    new = np.argsort(order)
    return NetworkGraph(
        network.nodes[order],
        tuple(new[edges] for edges in network.edges),
        network.inputs[order],
        network.outputs[order],
        tuple(each[order] for each in network.layers),
        new[network.places],
    )


def test_order_of_nodes_does_not_change_the_embedding(rng: np.random.Generator) -> None:
    groups = states(rng)
    other = permuted(NETWORK, rng.permutation(len(NETWORK.nodes)))

    embedding, of_other = encoder_of()(groups), encoder_of(other)(groups)

    assert not np.array_equal(other.nodes, NETWORK.nodes)
    assert torch.allclose(embedding, of_other, atol=1e-6)


def test_order_of_edges_does_not_change_the_embedding(rng: np.random.Generator) -> None:
    groups = states(rng)
    edges = tuple(each[:, rng.permutation(each.shape[1])] for each in NETWORK.edges)

    of_other = encoder_of(replace(NETWORK, edges=edges))(groups)

    assert torch.allclose(encoder_of()(groups), of_other, atol=1e-6)


def test_a_batch_is_encoded_as_its_members_one_by_one(rng: np.random.Generator) -> None:
    encoder, groups = encoder_of(), states(rng)

    together = encoder(groups)
    apart = torch.cat([encoder(each[None]) for each in groups])

    assert torch.allclose(together, apart, atol=1e-6)
    assert len({tuple(row) for row in together.tolist()}) == len(groups)  # not all the first


def test_a_round_is_relational_convolution_on_a_disjoint_batch(rng: np.random.Generator) -> None:
    """Against PyTorch Geometric's own layer and batching, with our weights put into it."""
    message_round = encoder_of().rounds[0]
    width, count = 12, len(NETWORK.nodes)
    nodes = torch.from_numpy(rng.standard_normal((count, 4, width)).astype(np.float32))
    stock = RGCNConv(width, width, len(RELATIONS), aggr="mean")
    own, *heard = message_round.mix.weight.T.split(width)
    with torch.no_grad():
        stock.root.copy_(own)
        stock.weight.copy_(torch.stack(list(heard)))
        stock.bias.copy_(message_round.mix.bias)
    kinds = np.repeat(np.arange(len(RELATIONS)), [each.shape[1] for each in NETWORK.edges])
    edges = torch.from_numpy(np.concatenate(NETWORK.edges, axis=1))
    batch = Batch.from_data_list(
        [Data(x=nodes[:, k], edge_index=edges, kind=torch.from_numpy(kinds)) for k in range(4)]
    )

    ours = message_round(nodes, encoder_of()._edges)
    theirs = batch.x + stock(batch.x, batch.edge_index, batch.kind).relu()

    assert torch.allclose(ours, theirs.view(4, count, width).permute(1, 0, 2), atol=1e-5)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_every_state_of_a_group_reaches_the_embedding(rng: np.random.Generator, row: int) -> None:
    encoder, groups = encoder_of(), states(rng, batch=1)
    changed = groups.clone()
    changed[0, row, 4] = 1.0 - changed[0, row, 4]

    assert not torch.allclose(encoder(groups), encoder(changed), atol=1e-5)


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("kind", ["density", "weight_bits", "activation_bits"])
def test_every_state_of_a_layers_decision_reaches_the_embedding(
    rng: np.random.Generator, kind: str, row: int
) -> None:
    options = {"weight_bits": (2, 4, 8), "activation_bits": (4, 8), "edge_bits": None}
    space = space_of(GRAPH, schemes=("channel", "element"), **options)
    encoder, count = encoder_of(network_graph(space)), len(space.decisions)
    place = [decision.kind for decision in space.decisions].index(kind) + 3
    decisions = torch.from_numpy(rng.random((1, 3, count), dtype=np.float32))
    changed = decisions.clone()
    changed[0, row, place] = 1.0 - changed[0, row, place]

    assert not torch.allclose(encoder(decisions), encoder(changed), atol=1e-5)


def test_topology_reaches_the_embedding(rng: np.random.Generator) -> None:
    groups = states(rng)
    unconnected = replace(NETWORK, edges=tuple(each[:, :0] for each in NETWORK.edges))

    of_unconnected = encoder_of(unconnected)(groups)

    assert not torch.allclose(encoder_of()(groups), of_unconnected, atol=1e-3)


def test_every_weight_has_a_gradient(rng: np.random.Generator) -> None:
    encoder = encoder_of()

    encoder(states(rng)).square().sum().backward()

    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for parameter in encoder.parameters()
    )


def test_weights_fit_another_network(rng: np.random.Generator) -> None:
    encoder, other = encoder_of(), encoder_of(network_graph(space_of(plain_graph((8, 16)))))

    other.load_state_dict(encoder.state_dict())


def snapshot_of(encoder: GraphEncoder) -> Snapshot:
    prefix = "policy.actor.features_extractor.encoder"
    return Snapshot(
        {}, {f"{prefix}.{k}": v.numpy().copy() for k, v in encoder.state_dict().items()}
    )


def test_saved_encoder_is_read_as_it_was(tmp_path: Path) -> None:
    encoder = encoder_of()

    save_encoder(snapshot_of(encoder), tmp_path / "encoder.safetensors")

    weights = read_encoder(tmp_path / "encoder.safetensors")
    expected = encoder.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_snapshot_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no graph encoder"):
        save_encoder(Snapshot({}, {}), tmp_path / "encoder.safetensors")


def test_files_that_are_no_encoder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    with pytest.raises(InvalidInput, match="not a graph encoder"):
        read_encoder(path)
    path.write_bytes(b"something else")
    with pytest.raises(InvalidInput, match="not a graph encoder"):
        read_encoder(path)
    save_file({"a": torch.zeros(2)}, path, {"document": '{"kind": "network"}'})
    with pytest.raises(InvalidInput, match="not a graph encoder; give the path"):
        read_encoder(path)
    save_file({"a": torch.zeros(2)}, path, {"document": '{"kind": "graph-encoder"}'})
    with pytest.raises(InvalidInput, match="other node features"):
        read_encoder(path)


def test_encoder_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    encoder = encoder_of()
    with torch.no_grad():
        encoder.pooled.bias[0] = torch.nan
    save_encoder(snapshot_of(encoder), path)

    assert not load_file(path)["pooled.bias"].isfinite().all()
    with pytest.raises(InvalidInput, match=r"not finite, in pooled\.bias"):
        read_encoder(path)
