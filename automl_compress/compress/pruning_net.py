"""PruningNet: one set of parameters that gives weights to every structure of a network.

Each structure (a choice of kept channels in every group) has its own weights,

    W(e) = B + sum over r of h_r(e) U_r,    h(e) = relu(A e + a),

cropped to the kept channels. B is a weight that all structures share; e holds the keep ratios of
the groups that the layer reads and writes; the correction has rank R in the space of weights.
(Liu et al., ICCV 2019, section 3.1: there A, a, U and B are two fully connected layers a
convolution, B being the bias of the second, and R is 32. Here B can begin as the trained weight,
with U at zero, so that the uncut structure is the trained network itself.)
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from automl_compress.core.errors import InvalidInput
from automl_compress.core.pruning_net import Start
from automl_compress.networks.plan import ChannelPlan
from automl_compress.networks.surgery import tensors_of, with_tensors
from automl_compress.networks.trace import Network

MOST_PARAMETERS = 1 << 28  # 1 GiB as float32, three times that while it is trained


class Correction(nn.Module):
    """The part of one weight that depends on the structure."""

    groups: Tensor

    def __init__(self, groups: Sequence[int], shape: torch.Size, rank: int) -> None:
        """Begin with U = 0: no correction.

        Args:
            groups: whose keep ratios are the encoding e, E of them.
            shape: of the weight.
            rank: R, at least 1.
        """
        super().__init__()
        self.register_buffer("groups", torch.tensor(groups), persistent=False)
        self._shape = shape
        # Biases of 0 to 1: every unit is alive at small keep ratios, so that U can learn.
        self.weight = nn.Parameter(torch.empty(rank, len(groups)).uniform_(-1.0, 1.0))
        self.bias = nn.Parameter(torch.empty(rank).uniform_(0.0, 1.0))
        self.directions = nn.Parameter(torch.zeros(rank, shape.numel()))

    def forward(self, ratios: Tensor) -> Tensor:
        """Return the correction, of the weight's shape, at these keep ratios (groups,)."""
        hidden = F.relu(F.linear(ratios[self.groups], self.weight, self.bias))
        return (hidden @ self.directions).view(self._shape)


class PruningNet(nn.Module):
    """Generates the weights of any structure of a network, and runs it.

    Structures are kept channels of each group, ascending, as `ChannelSelector` gives them: those
    of a narrow structure are contained in those of a wide one, which is what cropping sorted
    channels would give. Batch normalisations share scale and shift; in training mode they use
    the statistics of the batch, afterwards `recalibrate` the network that `network` returns.
    """

    def __init__(self, network: Network, rank: int, starts_from: Start = "trained") -> None:
        """Take the network's weights, or fresh ones, as what all structures share.

        Args:
            network: a traced network; stays as it is.
            rank: of the corrections; 0 for none.
            starts_from: `trained` or `random`; draws from torch's global generator.

        Raises:
            InvalidInput: the network is too large for this rank.
        """
        super().__init__()
        corrected = corrected_weights(network)
        _check_size(network, corrected, rank)
        self._network = network
        self._everything = [torch.arange(channels) for channels in network.plan.channels]
        module = network.module if starts_from == "trained" else _fresh(network.module)
        self.shared = nn.ParameterDict(
            {
                _key(name): nn.Parameter(tensor.detach().clone())
                for name, tensor in module.named_parameters()
            }
        )
        self.corrections = nn.ModuleDict()
        if rank:
            for name, groups in corrected.items():
                shape = self.shared[_key(name)].shape
                self.corrections[_key(name)] = Correction(groups, shape, rank)
        if starts_from == "random":
            self._randomise_corrections()

    def _randomise_corrections(self) -> None:
        """Draw U as large as B, as two fully connected layers with default weights have it."""
        for key, member in self.corrections.items():
            assert isinstance(member, Correction)
            scale = float(self.shared[key].detach().std())
            nn.init.normal_(member.directions, std=scale / len(member.directions) ** 0.5)

    def tensors(self, kept: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return every tensor of the cut network, by name, with gradients to the parameters.

        Args:
            kept: channels of each group, ascending.
        """
        plan = self._network.plan
        counts = zip(kept, plan.channels, strict=True)
        device = next(self.parameters()).device
        ratios = torch.tensor([len(indices) / channels for indices, channels in counts]).to(device)
        tensors = tensors_of(self._network.module)
        for name in tensors:
            if _key(name) in self.shared:
                tensors[name] = self._full(_key(name), ratios)
        return {name: tensor.to(device) for name, tensor in plan.cut(tensors, kept).items()}

    def _full(self, key: str, ratios: Tensor) -> Tensor:
        shared = self.shared[key]
        return shared + self.corrections[key](ratios) if key in self.corrections else shared

    def forward(self, images: Tensor, kept: Sequence[Tensor] | None = None) -> Tensor:
        """Return the logits (B, classes) of images (B, ...) under a structure; None for all."""
        tensors = self.tensors(self._everything if kept is None else kept)
        module = with_tensors(self._network.module, tensors).train(self.training)
        generated = {name: value for name, value in tensors.items() if _key(name) in self.shared}
        return functional_call(module, generated, (images,))

    def network(self, kept: Sequence[Tensor]) -> nn.Module:
        """Return the physically smaller module with generated weights, in evaluation mode.

        The running statistics of its batch normalisations are the uncut network's.
        """
        with torch.no_grad():
            return with_tensors(self._network.module, self.tensors(kept)).eval()


def corrected_weights(network: Network) -> dict[str, tuple[int, ...]]:
    """Name the weights that get a correction, with the groups that their layers read and write.

    These are the dense layers whose outputs are cut; a classifier has a plain weight, as in
    the public code.
    """
    return {
        layer.weight: _groups_of(network.plan, layer.weight)
        for layer in network.graph.layers
        if layer.kind != "other" and (layer.weight, 0) in network.plan.axes
    }


def _groups_of(plan: ChannelPlan, weight: str) -> tuple[int, ...]:
    found: set[int] = set()
    for axis in (0, 1):
        if (weight, axis) in plan.axes:
            found.update(plan.entries_each((weight, axis))[1].nonzero()[0].tolist())
    return tuple(sorted(found))


def _check_size(network: Network, corrected: Mapping[str, Any], rank: int) -> None:
    sizes = {name: value.numel() for name, value in network.module.named_parameters()}
    shared, each = sum(sizes.values()), sum(sizes[name] for name in corrected)
    if shared + rank * each > MOST_PARAMETERS:
        fitting = max((MOST_PARAMETERS - shared) // max(each, 1), 0)
        raise InvalidInput(
            f"a PruningNet of rank {rank} for this network has {shared + rank * each:,} "
            f"parameters; {MOST_PARAMETERS:,} are allowed. Lower recipe.pruning_net.rank to at "
            f"most {fitting}, or score candidates with recipe.weights = 'inherited'"
        )


def _fresh(module: nn.Module) -> nn.Module:
    """Return a copy with newly drawn weights, wherever a member knows how to draw its own."""
    twin = copy.deepcopy(module)
    for member in twin.modules():
        reset = getattr(member, "reset_parameters", None)
        if callable(reset):
            reset()
    return twin


def _key(name: str) -> str:
    return name.replace(".", "/")  # torch keeps dots for the path of a parameter
