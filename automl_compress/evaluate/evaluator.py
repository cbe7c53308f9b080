"""Scoring a policy: cut, repair, forward the same images, measure."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress.compress.pruning_net import PruningNet
from automl_compress.core import Measurement, Policy, Recipe
from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.core.hits import pack_hits
from automl_compress.costs import LatencyTable, PolicyCosts
from automl_compress.data.datasets import Split
from automl_compress.evaluate.backends import backend_candidates
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.candidates import Forward, ProgramCandidates, candidates_of
from automl_compress.evaluate.program import Program
from automl_compress.evaluate.repairing import Repairer, first_images, wanted_net
from automl_compress.networks import devices
from automl_compress.networks.trace import Network, trace

FEW_PARTS = 3  # of a full evaluation's images; less than one of them are few


@dataclass(frozen=True, slots=True)
class Score:
    """What one pass over the images gave.

    correct, total: images. cross_entropy, kl: means over images, in nats.
    """

    correct: int
    total: int
    cross_entropy: float
    kl: float | None


class PolicyEvaluator(Repairer):
    """Scores policies of one network under one recipe; an `Evaluator`.

    Everything that candidates share is made once: the program, the parameter bank, the patch
    statistics, the images in memory, and the uncut network's predictions.
    """

    def __init__(
        self,
        network: Network,
        search: Split,
        train: Split,
        recipe: Recipe,
        pruning_net: PruningNet | None = None,
        table: LatencyTable | None = None,
        program: Program | None = None,
    ) -> None:
        """Prepare.

        Args:
            network: a traced network.
            search: images that score candidates; the recipe takes its first `images`.
            train: images that calibrate; the recipe takes its first `calibration_images`.
            recipe: how candidates are scored.
            pruning_net: gives the weights of candidates; trained, where the recipe wants one.
            table: times on the study's target, where it has one.
            program: of another evaluator of this network; None compiles one.

        Raises:
            InvalidInput: the recipe asks for more images than the search split has, for a
                PruningNet that is not given, or for an engine that is not installed.
            ModelInvalid: the engine that the recipe asks for cannot run the network.
        """
        super().__init__(network, train, recipe, pruning_net)
        scored = first_images(search, recipe.images, "images")
        self.split = f"{scored.name}: {scored.provenance}"
        pairs = list(scored.batches(recipe.batch_size))
        self._images = [_channels_last(images) for images, _ in pairs]
        self._labels = torch.cat([labels for _, labels in pairs])
        self._in_torch = candidates_of(network, self._reconstruction, self._grids, program)
        backend, self._candidates = backend_candidates(
            recipe.backend, network, self._in_torch, self._images
        )
        self.recipe = replace(recipe, backend=backend)
        if backend == "cuda":
            self._device = devices.fastest()
        # Compiling does not pay on few images.
        self._on_few = self._in_torch if backend == "openvino" else self._candidates
        self._costs = PolicyCosts(network.graph, table)
        self._total = len(scored)
        self._parts: dict[tuple[int, int], list[Tensor]] = {}
        uncut = self._candidates.of_module(network.module, {})
        began = time.perf_counter()
        self._uncut_logits = self._logits(uncut, slice(0, self._total))
        #: Wall time of the uncut network's forward passes over all images.
        self.uncut_seconds = time.perf_counter() - began

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        """Measure a policy on the search images, or on some of them.

        Raises:
            PolicyMismatch: the policy was made for another network.
            ModelInvalid: the cut network's outputs are not finite.
            InvalidInput: the slice has no image.
        """
        wall, cpu = time.perf_counter(), time.process_time()
        part = self._part(images)
        layers = policy.layer_choices(self.network.graph)
        forward = self._forward_of(Candidate(self._selector.kept(policy), layers), part)
        before_forward = time.process_time()
        logits = self._logits(forward, part)
        forward_cpu = time.process_time() - before_forward
        if not bool(torch.isfinite(logits).all()):
            raise ModelInvalid(
                "the cut network gives NaN or infinity on the search images; keep more channels"
            )
        score = self._score(logits, part)
        accuracy = score.correct / score.total
        return Measurement(
            cost=self._costs.cost(policy),
            score=self.recipe.score(accuracy, score.cross_entropy, score.kl),
            correct=score.correct,
            total=score.total,
            cross_entropy=score.cross_entropy,
            kl=score.kl,
            split=self.split,
            fidelity="proxy" if score.total == self._total else "subset",
            recipe=self.recipe,
            seed=self.recipe.seed,
            evaluations=self._evaluations(score.total),
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            forward_cpu_seconds=forward_cpu,
            hits=pack_hits((logits.argmax(1) == self._labels[part]).numpy()),
        )

    @property
    def program(self) -> Program | None:
        """The program that scores candidates; None where they are scored module by module."""
        in_torch = self._in_torch
        return in_torch.program if isinstance(in_torch, ProgramCandidates) else None

    def score_uncut(self) -> Score:
        """Score the uncut network on the same images."""
        return self._score(self._uncut_logits, slice(0, self._total))

    def _forward_of(self, candidate: Candidate, part: slice) -> Forward:
        are_few = (part.stop - part.start) * FEW_PARTS < self._total
        way = self._on_few if are_few else self._candidates
        if self._pruning_net is None and not self.recipe.repair_passes:
            return way.of(candidate)
        return way.of_module(self._repaired(candidate), candidate.layers)

    def _part(self, images: slice | None) -> slice:
        start, stop, _ = (images or slice(None)).indices(self._total)
        if start >= stop:
            raise InvalidInput(
                f"no image from {start} to {stop}; the recipe's images are numbered from 0 to "
                f"{self._total - 1}"
            )
        return slice(start, stop)

    def _batches(self, part: slice) -> list[Tensor]:
        """Return the images of a part; the same list each time, as the prefix cache asks."""
        key = (part.start, part.stop)
        if key not in self._parts:
            size, batches = self.recipe.batch_size, []
            for start in range(part.start // size * size, part.stop, size):
                batch = self._images[start // size]
                batches.append(batch[max(part.start - start, 0) : part.stop - start])
            self._parts[key] = batches
        return self._parts[key]

    def _logits(self, forward: Forward, part: slice) -> Tensor:
        with torch.inference_mode():
            return forward.logits(self._batches(part))

    def _score(self, logits: Tensor, part: slice) -> Score:
        labels = self._labels[part]
        with torch.inference_mode():
            predictions = F.log_softmax(logits.double(), dim=1)
            uncut = F.log_softmax(self._uncut_logits[part].double(), dim=1)
            return Score(
                correct=int((logits.argmax(1) == labels).sum()),
                total=len(labels),
                cross_entropy=float(F.nll_loss(predictions, labels)),
                kl=float(F.kl_div(predictions, uncut, reduction="batchmean", log_target=True)),
            )

    def _evaluations(self, images: int) -> float:
        """Count images forwarded for one candidate, in full proxy evaluations."""
        calibration = sum(len(labels) for _, labels in self._calibration)
        return (images + self.recipe.repair_passes * calibration) / self._total


@dataclass(frozen=True)
class EvaluatorRecord:
    """All that another process needs to build the same evaluator.

    generator: the state of the PruningNet, where the recipe wants one.
    table: times on the study's target, where it has one.
    program: the network's, where it is compiled already.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    search: Split
    train: Split
    recipe: Recipe
    generator: Mapping[str, Tensor] | None = None
    table: LatencyTable | None = None
    program: Program | None = None

    @classmethod
    def of(
        cls,
        network: Network,
        search: Split,
        train: Split,
        recipe: Recipe,
        pruning_net: PruningNet | None = None,
        table: LatencyTable | None = None,
        program: Program | None = None,
    ) -> "EvaluatorRecord":
        """Keep only the images that the recipe uses.

        Raises:
            InvalidInput: the recipe leaves the backend open: every process would choose its own.
        """
        if recipe.backend == "auto":
            raise InvalidInput(
                "recipe.backend is 'auto', which one evaluator settles for all processes; take "
                "the backend of a PolicyEvaluator's recipe"
            )
        scored = first_images(search, recipe.images, "images")
        calibration = first_images(train, min(recipe.calibration_images, len(train)), "images")
        wanted = wanted_net(pruning_net, recipe)
        generator = None if wanted is None else wanted.state_dict()
        shape = network.graph.input_shape
        parts = scored, calibration, recipe, generator, table, program
        return cls(network.module, shape, *parts)

    def build(self) -> PolicyEvaluator:
        """Trace the network again and prepare the evaluator."""
        network = trace(self.module, self.input_shape)
        pruning_net = None
        if self.generator is not None and self.recipe.pruning_net is not None:
            pruning_net = PruningNet(network, self.recipe.pruning_net.rank)
            pruning_net.load_state_dict(self.generator)
        rest = self.recipe, pruning_net, self.table, self.program
        return PolicyEvaluator(network, self.search, self.train, *rest)


def _channels_last(images: Tensor) -> Tensor:
    if images.dim() == 4:
        return images.contiguous(memory_format=torch.channels_last)
    return images
