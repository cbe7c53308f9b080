import numpy as np
import pytest

from automl_compress.core import Budget, Layer, LayerGraph, Width
from automl_envs.decision_state import DecisionsObservation
from automl_envs.network_graph import NODE_FEATURES, RELATIONS, NetworkGraph, network_graph
from automl_envs.observation_catalogue import create_observation
from automl_envs.walk import LayerWalk, WalkRules
from tests.fakes import plain_graph, residual_graph, space_of

# Four layers (3 -> 8 -> 16 -> 24 -> 10) and three groups: nodes 0 to 3 and 4 to 6.
GRAPH = plain_graph((8, 16, 24))


def edges_of(network: NetworkGraph, relation: str) -> set[tuple[int, int]]:
    return set(map(tuple, network.edges[RELATIONS.index(relation)].T.tolist()))


def column(network: NetworkGraph, name: str) -> list[float]:
    return network.nodes[:, NODE_FEATURES.index(name)].tolist()


def walk_of(graph: LayerGraph = GRAPH) -> LayerWalk:
    return LayerWalk(space_of(graph, max_sparsity=0.75), Budget("macs", 1.0), WalkRules("scale"))


def test_layers_and_groups_are_nodes_with_attributes() -> None:
    network = network_graph(space_of(GRAPH))

    assert network.nodes.shape == (7, len(NODE_FEATURES))
    assert network.places.tolist() == [4, 5, 6]
    assert column(network, "is_convolution") == [1, 1, 1, 0, 0, 0, 0]
    assert column(network, "is_linear") == [0, 0, 0, 1, 0, 0, 0]
    assert column(network, "is_group") == [0, 0, 0, 0, 1, 1, 1]
    # MACs 13,824, 73,728, 221,184 and 240 of 308,976; a group's are those of all its layers.
    macs = np.array([13_824, 73_728, 221_184, 240])
    of_groups = [macs[:2].sum(), macs[1:3].sum(), macs[2:].sum()]
    assert column(network, "macs_share") == pytest.approx(
        [*macs / 308_976, *np.divide(of_groups, 308_976)]
    )
    assert column(network, "in_channels")[1] == pytest.approx(np.log2(9) / 12)
    assert 0.0 <= network.nodes.min() <= network.nodes.max() <= 1.0


def test_edges_are_data_flow_and_membership_both_ways() -> None:
    network = network_graph(space_of(GRAPH))

    assert edges_of(network, "flow") == {(0, 1), (1, 2), (2, 3)}
    assert edges_of(network, "produces") == {(0, 4), (1, 5), (2, 6)}
    assert edges_of(network, "consumes") == {(1, 4), (2, 5), (3, 6)}
    for there, back in (
        ("flow", "reversed_flow"), ("produces", "produced_by"), ("consumes", "consumed_by"),
    ):  # fmt: skip
        assert edges_of(network, back) == {(b, a) for a, b in edges_of(network, there)}


def test_all_producers_of_a_coupled_group_are_its_members() -> None:
    graph = residual_graph((16, 32, 64))
    network = network_graph(space_of(graph))

    stage = network.places[graph.group_index["stem"]]

    # stem and the second convolutions of both blocks
    assert len([1 for _, target in edges_of(network, "produces") if target == stage]) == 3


def test_channels_belong_to_the_groups_that_cut_them() -> None:
    network = network_graph(space_of(GRAPH))

    assert network.inputs.tolist() == [
        [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1],
    ]  # fmt: skip
    assert network.outputs.tolist() == [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1],
    ]  # fmt: skip


def test_depthwise_input_is_cut_with_its_output() -> None:
    graph = residual_graph((8, 8, 8))
    row = [layer.name for layer in graph.layers].index("stage2.block1.depthwise")

    network = network_graph(space_of(graph))

    assert network.inputs[row].tolist() == network.outputs[row].tolist()
    assert network.inputs[row].sum() == 1.0


def test_concatenated_inputs_are_shared_by_their_groups() -> None:
    tensors = list(GRAPH.tensors)
    place = [tensor.name for tensor in tensors].index("classifier.weight")
    axes = (Width(10), Width(8, ((1, 1), (2, 1))))  # 8 + 16 + 24
    tensors[place] = type(tensors[place])("classifier.weight", axes, 4, True, 1)

    network = network_graph(
        space_of(
            LayerGraph(GRAPH.input_shape, GRAPH.layers, GRAPH.edges, GRAPH.groups, tuple(tensors))
        )
    )

    assert network.inputs[3].tolist() == pytest.approx([0, 16 / 48, 24 / 48])


def test_data_flow_leads_through_layers_that_are_left_out() -> None:
    norm = Layer("norm", "other", "BatchNorm2d", "", (), (), 1, 8, 8, (8, 8), 1)
    layers = (GRAPH.layers[0], norm, *GRAPH.layers[1:])
    edges = ((0, 1), (1, 2), (2, 3), (1, 3), (3, 4))  # 1 -> 3: a shortcut behind the norm

    network = network_graph(
        space_of(LayerGraph(GRAPH.input_shape, layers, edges, GRAPH.groups, GRAPH.tensors))
    )

    assert edges_of(network, "flow") == {(0, 1), (1, 2), (0, 2), (2, 3)}


def test_groups_are_observed_as_removed_undecided_and_current() -> None:
    walk = walk_of()
    walk.step([0.25])  # 2 of 8 channels stay

    state = create_observation("graph", walk).observe(walk)[13:].reshape(3, 3)

    assert state.tolist() == [[0.75, 0, 0], [0, 1, 1], [0, 1, 0]]


def test_whole_network_is_current_for_an_agent_that_decides_it_at_once() -> None:
    walk = walk_of()

    state = DecisionsObservation(walk).observe(walk).reshape(3, 3)

    assert state.tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1]]


def test_nothing_is_current_or_undecided_at_the_end() -> None:
    walk = walk_of()
    while not walk.is_done:
        walk.step([1.0])

    for observation in (create_observation("graph", walk), DecisionsObservation(walk)):
        assert observation.observe(walk)[-6:].tolist() == [0.0] * 6
