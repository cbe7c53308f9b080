"""Reads a network's graph, as far as it is cut, into an embedding."""

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch_geometric.nn import SimpleConv

from automl_compress.core.errors import InvalidInput
from automl_envs.decision_state import DECISION_STATE
from automl_envs.network_graph import NODE_FEATURES, RELATIONS, NetworkGraph


class MessageRound(nn.Module):
    """Every node hears the mean of its neighbours, of each relation apart, and adds to itself.

    Source: Schlichtkrull et al., Modeling Relational Data with Graph Convolutional Networks
    (ESWC 2018), equation 2, with a residual sum.
    """

    def __init__(self, width: int) -> None:
        """Initialise one linear map for a node and all that it hears."""
        super().__init__()
        self._hear = SimpleConv(aggr="mean", node_dim=0)
        self.mix = nn.Linear((1 + len(RELATIONS)) * width, width)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Pass messages once.

        Args:
            nodes: (N, B, W).
            edges: from node to node, relation r's targets moved by r * N. (2, E).

        Returns:
            (N, B, W).
        """
        count, batch, width = nodes.shape
        heard = self._hear((nodes, None), edges, size=(count, len(RELATIONS) * count))
        heard = heard.view(len(RELATIONS), count, batch, width).permute(1, 2, 0, 3)
        everything = torch.cat([nodes, heard.reshape(count, batch, -1)], dim=2)
        return nodes + self.mix(everything).relu()


class GraphEncoder(nn.Module):
    """Message passing over layers and groups, then the whole graph as one embedding.

    All examples of a batch are states of one network: topology and attributes are kept once,
    and nodes stand on the first axis, so that one pass serves the batch. The embedding is the
    mean over all nodes beside the mean over the current decisions' nodes, mapped and bounded by
    tanh (as in AGMC's code of 2021); it does not depend on the order of nodes. Weights
    fit any network whose layers have decisions of the same kinds.
    """

    def __init__(self, network: NetworkGraph, width: int, rounds: int, embedding: int) -> None:
        """Initialise the weights.

        Args:
            network: whose states are encoded.
            width: numbers for each node, W.
            rounds: of messages.
            embedding: size of the result, Z.
        """
        super().__init__()
        self._nodes: Tensor
        self._edges: Tensor
        self._memberships: Tensor
        self._places: Tensor
        self._keep("_nodes", network.nodes)
        self._keep("_edges", _stacked_edges(network))
        memberships = [network.inputs, network.outputs, *network.layers]
        self._slots = len(memberships)
        self._keep("_memberships", np.concatenate(memberships))
        self._keep("_places", network.places)
        self.attributes = nn.Linear(len(NODE_FEATURES), width)
        self.states = nn.Linear(self._slots * len(DECISION_STATE), width, bias=False)
        self.rounds = nn.ModuleList(MessageRound(width) for _ in range(rounds))
        self.pooled = nn.Linear(2 * width, embedding)

    def _keep(self, name: str, array: np.ndarray) -> None:
        # Facts of one network; not a weight, and so not in the state dict.
        self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def forward(self, decisions: Tensor) -> Tensor:
        """Encode states.

        Args:
            decisions: what DecisionsObservation tells of every decision. (B, 3, D).

        Returns:
            (B, Z), each in (-1, 1).
        """
        batch, rows, count = decisions.shape
        of_nodes = self._memberships @ decisions.permute(2, 0, 1).reshape(count, batch * rows)
        states = of_nodes.view(self._slots, -1, batch, rows).permute(1, 2, 0, 3)  # (N, B, S, 3)
        nodes = self.attributes(self._nodes)[:, None] + self.states(states.flatten(2))
        nodes = nodes.relu()  # (N, B, W)
        for each in self.rounds:
            nodes = each(nodes, self._edges)
        current = decisions[:, DECISION_STATE.index("current")]  # (B, D)
        weights = current / current.sum(dim=1, keepdim=True).clamp(min=1.0)
        focus = torch.einsum("bd,dbw->bw", weights, nodes[self._places])
        return torch.tanh(self.pooled(torch.cat([nodes.mean(dim=0), focus], dim=1)))


class GraphFeatures(BaseFeaturesExtractor):
    """What actor and critic see: an observation whose decisions' part is now the embedding."""

    def __init__(
        self,
        observation_space: spaces.Box,
        network: NetworkGraph,
        sizes: tuple[int, int, int],
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Initialise the encoder.

        Args:
            observation_space: of F features, the last 3 * D of them the decisions' state.
            network: whose states are observed.
            sizes: width, rounds and embedding of the encoder.
            weights: of an encoder for another network, to begin with.

        Raises:
            InvalidInput: the weights are of other sizes.
        """
        self._decisions = network.places.shape[0]
        self._own = observation_space.shape[0] - len(DECISION_STATE) * self._decisions
        super().__init__(observation_space, self._own + sizes[2])
        self.encoder = GraphEncoder(network, *sizes)
        if weights is not None:
            _check_weights(self.encoder.state_dict(), weights)
            self.encoder.load_state_dict(dict(weights))

    def forward(self, observations: Tensor) -> Tensor:
        """Return (B, F - 3 * D + Z) for (B, F)."""
        own, states = observations.split([self._own, observations.shape[1] - self._own], dim=1)
        encoded = self.encoder(states.view(-1, len(DECISION_STATE), self._decisions))
        return torch.cat([own, encoded], dim=1)


def _stacked_edges(network: NetworkGraph) -> np.ndarray:
    count = len(network.nodes)
    moved = [
        edges + np.array([[0], [relation * count]]) for relation, edges in enumerate(network.edges)
    ]
    return np.concatenate(moved, axis=1)


def _check_weights(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    sizes = [{name: tuple(t.shape) for name, t in each.items()} for each in (expected, given)]
    if sizes[0] == sizes[1]:
        return
    differing = sorted(
        name
        for name in sizes[0].keys() | sizes[1].keys()
        if sizes[0].get(name) != sizes[1].get(name)
    )
    name = differing[0]
    raise InvalidInput(
        f"the encoder to transfer has {name} of shape {sizes[1].get(name)}, this one has "
        f"{sizes[0].get(name)}; set encoder_width, encoder_rounds and embedding as they were "
        "when it was trained, and open densities and bits as then"
    )
