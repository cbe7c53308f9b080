"""Scoring a policy: cut, repair, forward the same images, measure."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.recalibration import recalibrate
from automl_compress.compress.reconstruction import Reconstruction
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import Measurement, Policy, Recipe
from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.costs import AnalyticCosts
from automl_compress.data.datasets import Split
from automl_compress.evaluate.candidates import Forward, candidates_of
from automl_compress.networks.trace import Network, trace


@dataclass(frozen=True, slots=True)
class Score:
    """What one pass over the images gave.

    correct, total: images. cross_entropy, kl: means over images, in nats.
    """

    correct: int
    total: int
    cross_entropy: float
    kl: float | None


class PolicyEvaluator:
    """Scores policies of one network under one recipe; an `Evaluator`.

    Everything that candidates share is made once: the program, the parameter bank, the patch
    statistics, the images in memory, and the uncut network's predictions.
    """

    def __init__(self, network: Network, search: Split, train: Split, recipe: Recipe) -> None:
        """Prepare.

        Args:
            network: a traced network.
            search: images that score candidates; the recipe takes its first `images`.
            train: images that calibrate; the recipe takes its first `calibration_images`.
            recipe: how candidates are scored.

        Raises:
            InvalidInput: the recipe asks for more images than the search split has.
        """
        self.network, self.recipe = network, recipe
        scored = _first(search, recipe.images, "images")
        calibration = _first(train, min(recipe.calibration_images, len(train)), "images")
        self.split = f"{scored.name}: {scored.provenance}"
        pairs = list(scored.batches(recipe.batch_size))
        self._images = [_channels_last(images) for images, _ in pairs]
        self._labels = torch.cat([labels for _, labels in pairs])
        self._calibration = list(calibration.batches(recipe.batch_size))
        self._reconstruction = None
        if recipe.repair == "reconstruction":
            self._reconstruction = Reconstruction(network, self._calibration, recipe.seed)
        self._candidates = candidates_of(network, self._reconstruction)
        self._selector = ChannelSelector(network, self._calibration, recipe.seed)
        self._costs = AnalyticCosts(network.graph)
        self._total = len(scored)
        self._uncut_logits = self._logits(self._candidates.of_module(network.module))

    def evaluate(self, policy: Policy) -> Measurement:
        """Measure a policy on the search images.

        Raises:
            PolicyMismatch: the policy was made for another network.
            ModelInvalid: the cut network's outputs are not finite.
        """
        wall, cpu = time.perf_counter(), time.process_time()
        forward = self._forward_of(self._selector.kept(policy))
        before_forward = time.process_time()
        logits = self._logits(forward)
        forward_cpu = time.process_time() - before_forward
        if not bool(torch.isfinite(logits).all()):
            raise ModelInvalid(
                "the cut network gives NaN or infinity on the search images; keep more channels"
            )
        score = self._score(logits)
        return Measurement(
            cost=self._costs.cost(policy.widths(self.network.graph)),
            score=self._signal(score),
            correct=score.correct,
            total=score.total,
            cross_entropy=score.cross_entropy,
            kl=score.kl,
            split=self.split,
            fidelity="proxy",
            recipe=self.recipe,
            seed=self.recipe.seed,
            evaluations=self._evaluations(),
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            forward_cpu_seconds=forward_cpu,
        )

    def score_uncut(self) -> Score:
        """Score the uncut network on the same images."""
        return self._score(self._uncut_logits)

    def explicit(self, policy: Policy) -> Policy:
        """Return the policy with its channels written out."""
        return self._selector.explicit(policy)

    def repaired_network(self, policy: Policy) -> nn.Module:
        """Build the cut network with the recipe's repair in its weights."""
        kept = self._selector.kept(policy)
        module = cut_network(self.network, kept, self._reconstruction)
        if self.recipe.repair == "recalibration":
            recalibrate(module, self._calibration)
        return module

    def _forward_of(self, kept: Sequence[Tensor]) -> Forward:
        if self.recipe.repair != "recalibration":
            return self._candidates.cut(kept)
        module = cut_network(self.network, kept)
        recalibrate(module, self._calibration)
        return self._candidates.of_module(module)

    def _logits(self, forward: Forward) -> Tensor:
        with torch.inference_mode():
            return forward.logits(self._images)

    def _score(self, logits: Tensor) -> Score:
        labels = self._labels
        with torch.inference_mode():
            predictions = F.log_softmax(logits.double(), dim=1)
            uncut = F.log_softmax(self._uncut_logits.double(), dim=1)
            return Score(
                correct=int((logits.argmax(1) == labels).sum()),
                total=len(labels),
                cross_entropy=float(F.nll_loss(predictions, labels)),
                kl=float(F.kl_div(predictions, uncut, reduction="batchmean", log_target=True)),
            )

    def _signal(self, score: Score) -> float:
        if self.recipe.signal == "accuracy":
            return score.correct / score.total
        value = score.kl if self.recipe.signal == "kl" else score.cross_entropy
        assert value is not None
        return -value

    def _evaluations(self) -> float:
        """Count images forwarded for one candidate, in full proxy evaluations."""
        if self.recipe.repair != "recalibration":
            return 1.0
        calibrated = sum(len(labels) for _, labels in self._calibration)
        return 1.0 + calibrated / self._total


@dataclass(frozen=True)
class EvaluatorRecord:
    """All that another process needs to build the same evaluator."""

    module: nn.Module
    input_shape: tuple[int, ...]
    search: Split
    train: Split
    recipe: Recipe

    @classmethod
    def of(cls, network: Network, search: Split, train: Split, recipe: Recipe) -> "EvaluatorRecord":
        """Keep only the images that the recipe uses."""
        scored = _first(search, recipe.images, "images")
        calibration = _first(train, min(recipe.calibration_images, len(train)), "images")
        return cls(network.module, network.graph.input_shape, scored, calibration, recipe)

    def build(self) -> PolicyEvaluator:
        """Trace the network again and prepare the evaluator."""
        network = trace(self.module, self.input_shape)
        return PolicyEvaluator(network, self.search, self.train, self.recipe)


def _first(split: Split, count: int | None, what: str) -> Split:
    if count is None or count == len(split):
        return split
    if count > len(split):
        raise InvalidInput(
            f"the recipe takes {count:,} {what} of the {split.name} split, which has "
            f"{len(split):,}; ask for fewer"
        )
    return split.subset(0, count)


def _channels_last(images: Tensor) -> Tensor:
    if images.dim() == 4:
        return images.contiguous(memory_format=torch.channels_last)
    return images
