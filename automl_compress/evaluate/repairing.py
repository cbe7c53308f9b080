"""The networks of policies, repaired as a recipe says: what is scored and what is handed out."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.pruning_net import PruningNet
from automl_compress.compress.recalibration import recalibrate
from automl_compress.compress.reconstruction import Reconstruction
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import LayerChoice, Policy, Recipe
from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import Split
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.short_distillation import ShortDistillation
from automl_compress.networks import devices
from automl_compress.networks.trace import Network
from automl_compress.train.pruning import prune
from automl_compress.train.straight_through import compressed_before


class Repairer:
    """Cuts one network and repairs what is left, under one recipe; scores nothing."""

    def __init__(
        self,
        network: Network,
        train: Split,
        recipe: Recipe,
        pruning_net: PruningNet | None = None,
    ) -> None:
        """Prepare.

        Args:
            network: a traced network.
            train: images that calibrate; the recipe takes its first `calibration_images`.
            recipe: how candidates are repaired.
            pruning_net: gives the weights of candidates; trained, where the recipe wants one.

        Raises:
            InvalidInput: the recipe asks for a PruningNet that is not given.
        """
        self.network, self.recipe = network, recipe
        self._device = devices.PROCESSOR
        self._pruning_net = wanted_net(pruning_net, recipe)
        calibration = first_images(train, min(recipe.calibration_images, len(train)), "images")
        self._calibration = list(calibration.batches(recipe.batch_size))
        layers = [layer.name for layer in network.graph.layers if layer.kind != "other"]
        self._grids = InputGrids(network.module, layers, self._calibration)
        self._reconstruction = None
        if recipe.repair == "reconstruction":
            self._reconstruction = Reconstruction(network, self._calibration, recipe.seed)
        self._distillation = None
        if recipe.repair == "distillation":
            parts = network, calibration, self._grids, recipe
            self._distillation = ShortDistillation(*parts)
        self._selector = ChannelSelector(network, self._calibration, recipe.seed)

    @property
    def calibration(self) -> list[tuple[Tensor, Tensor]]:
        """The recipe's calibration images, in batches."""
        return self._calibration

    def explicit(self, policy: Policy) -> Policy:
        """Return the policy with its channels written out."""
        return self._selector.explicit(policy)

    def repaired_network(self, policy: Policy) -> nn.Module:
        """Build the cut float network with the recipe's repair in its weights.

        Where that is recalibration, weights that the policy removes are zero already, and the
        statistics are those of the network with its weights on their grids; inputs are not rounded.
        Where it is distillation, training with weights and inputs on their grids comes behind that.
        """
        layers = policy.layer_choices(self.network.graph)
        return self._repaired(Candidate(self._selector.kept(policy), layers))

    def _repaired(self, candidate: Candidate) -> nn.Module:
        if self._pruning_net is not None:
            module = self._pruning_net.network(candidate.kept)
        else:
            module = cut_network(self.network, candidate.kept, self._reconstruction)
        if self.recipe.repair_passes:
            self._recalibrate(module.to(self._device), candidate.layers)
        if self._distillation is not None:
            self._distillation.train(module, candidate.layers, self._device)
        return module.to(devices.PROCESSOR)

    def _recalibrate(self, module: nn.Module, layers: Mapping[str, LayerChoice]) -> None:
        """Give a float network the statistics of what it becomes; its weights become sparse."""
        norm_after, members = self.network.plan.norm_after, dict(module.named_modules())
        changed = {name: choice for name, choice in layers.items() if choice.changes_weights}
        prune(module, {name: each.sparsity for name, each in changed.items()}, norm_after)
        weights = {name: members[name].get_parameter("weight").data for name in changed}
        floats = {name: weight.clone() for name, weight in weights.items()}
        for name, choice in changed.items():
            norm = members[norm_after[name]] if name in norm_after else None
            as_sparse = replace(choice, sparsity=0.0)  # its zeros are there
            weights[name].copy_(compressed_before(floats[name], norm, as_sparse))
        recalibrate(module, self._calibration)
        for name, weight in weights.items():
            weight.copy_(floats[name])


def wanted_net(pruning_net: PruningNet | None, recipe: Recipe) -> PruningNet | None:
    """Return the PruningNet if the recipe uses it; raise InvalidInput if it lacks one."""
    if recipe.weights == "inherited":
        return None
    if pruning_net is None:
        raise InvalidInput(
            "the recipe takes its weights from a PruningNet, and none is given; train it with "
            "automl_compress.train.pruning_net.prepare_pruning_net"
        )
    return pruning_net


def first_images(split: Split, count: int | None, what: str) -> Split:
    """Return the first images of a split, all for None; raise InvalidInput if it has fewer."""
    if count is None or count == len(split):
        return split
    if count > len(split):
        raise InvalidInput(
            f"the recipe takes {count:,} {what} of the {split.name} split, which has "
            f"{len(split):,}; ask for fewer"
        )
    return split.subset(0, count)
