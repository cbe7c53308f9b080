"""The networks of policies, repaired as a recipe says: what is scored and what is handed out."""

from collections.abc import Sequence

from torch import Tensor, nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.pruning_net import PruningNet
from automl_compress.compress.recalibration import recalibrate
from automl_compress.compress.reconstruction import Reconstruction
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import Policy, Recipe
from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import Split
from automl_compress.networks import devices
from automl_compress.networks.trace import Network


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
        self._reconstruction = None
        if recipe.repair == "reconstruction":
            self._reconstruction = Reconstruction(network, self._calibration, recipe.seed)
        self._selector = ChannelSelector(network, self._calibration, recipe.seed)

    @property
    def calibration(self) -> list[tuple[Tensor, Tensor]]:
        """The recipe's calibration images, in batches."""
        return self._calibration

    def explicit(self, policy: Policy) -> Policy:
        """Return the policy with its channels written out."""
        return self._selector.explicit(policy)

    def repaired_network(self, policy: Policy) -> nn.Module:
        """Build the cut float network with the recipe's repair in its weights."""
        return self._repaired(self._selector.kept(policy))

    def _repaired(self, kept: Sequence[Tensor]) -> nn.Module:
        if self._pruning_net is not None:
            module = self._pruning_net.network(kept)
        else:
            module = cut_network(self.network, kept, self._reconstruction)
        if self.recipe.repair == "recalibration":
            recalibrate(module.to(self._device), self._calibration)
        return module.to(devices.PROCESSOR)


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
