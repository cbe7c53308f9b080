"""Training a PruningNet, or finding it where it was trained before."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_compress.compress.pruning_net import PruningNet
from automl_compress.compress.selection import ChannelSelector
from automl_compress.core import CompressionSpace, Recipe
from automl_compress.core.canonical import digest
from automl_compress.core.errors import InvalidInput, StorageFailed
from automl_compress.core.pruning_net import CHANNEL_SCALES, PruningNetConfig
from automl_compress.data.datasets import ImageData, Split
from automl_compress.networks import devices
from automl_compress.networks.architectures import load_weights
from automl_compress.networks.fingerprint import weights_fingerprint
from automl_compress.networks.outputs import selected_output
from automl_compress.networks.trace import Network
from automl_compress.train.accuracy import count_correct
from automl_compress.train.checkpoint import read_checkpoint, write_checkpoint
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.loss import distillation_loss, training_loss
from automl_compress.train.progress import ProgressCallback
from automl_compress.train.randomness import seeded
from automl_compress.train.report import EpochReport
from automl_compress.train.run import TrainingRun

LAYOUT = 1  # of the stored files; another training of the same configuration needs another
# Narrow structures copy the widest as it is (Yu and Huang, ICCV 2019, section 3.3).
FROM_LARGEST = Distillation(temperature=1.0, weight=1.0)

Kept = Sequence[Tensor]


@dataclass(frozen=True)
class TrainedPruningNet:
    """A PruningNet that is ready for use.

    key: `sha256:...` of all that decides its weights. epochs: what its training did and cost.
    is_reused: it was found as a file; nothing was trained now.
    """

    net: PruningNet
    key: str
    epochs: tuple[EpochReport, ...]
    is_reused: bool

    @property
    def cpu_seconds(self) -> float:
        """What its training took, whenever that was."""
        return sum(epoch.cpu_seconds for epoch in self.epochs)

    def to_json(self) -> dict[str, Any]:
        """Describe the training as a JSON object."""
        return {
            "key": self.key,
            "epochs": len(self.epochs),
            "train_accuracy": self.epochs[-1].train_accuracy,
            "wall_seconds": sum(epoch.seconds for epoch in self.epochs),
            "cpu_seconds": self.cpu_seconds,
        }


class Structures:
    """The structures of a space that a PruningNet is trained on."""

    def __init__(self, space: CompressionSpace, ranking: Sequence[Tensor]) -> None:
        """Prepare.

        Args:
            space: says which widths are allowed.
            ranking: each group's channels from most to least important.
        """
        self._space, self._ranking = space, ranking
        self.smallest, self.largest = self.keep(space.smallest), self.keep(space.largest)

    def keep(self, widths: Sequence[int]) -> Kept:
        """Return the most important channels of each group, so many, ascending."""
        pairs = zip(self._ranking, widths, strict=True)
        return [ranking[:width].sort().values for ranking, width in pairs]

    def draw(self, rng: np.random.Generator) -> Kept:
        """Draw one of the published scales for each group; the space clips it."""
        scales = rng.choice(CHANNEL_SCALES, len(self._ranking))
        return self.keep(self._space.clip(scales.tolist()))


class PruningNetRun(TrainingRun):
    """The training of a PruningNet: other structures in every step."""

    def __init__(
        self,
        net: PruningNet,
        data: ImageData,
        config: PruningNetConfig,
        structures: Structures,
        device: torch.device = devices.PROCESSOR,
    ) -> None:
        """Begin at epoch 0; `net` moves to the device."""
        images = len(data.split("train"))
        training = TrainingConfig(
            epochs=config.epochs_over(min(config.images or images, images)),
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            schedule=config.schedule,
            nesterov=False,
            weight_decay=config.weight_decay,
            label_smoothing=config.label_smoothing,
            precision=config.precision,
            seed=config.seed,
            device=str(device),
        )
        super().__init__(net, data, training, config.images)
        self._structures, self._is_sandwich = structures, config.sampling == "sandwich"

    def _step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """Do one update; give loss and hits of the structure that learns the labels."""
        images = images.contiguous(memory_format=self.memory_format)
        self.optimizer.zero_grad()
        drawn = self._structures.draw(self.rng)
        if self._is_sandwich:
            logits, loss = self._learn_labels(images, labels, self._structures.largest)
            for kept in (self._structures.smallest, drawn):
                copied = self._logits(images, kept)
                distillation_loss(copied, logits.detach(), FROM_LARGEST).backward()
        else:
            logits, loss = self._learn_labels(images, labels, drawn)
        self.optimizer.step()
        return loss, count_correct(logits, labels)

    def _learn_labels(self, images: Tensor, labels: Tensor, kept: Kept) -> tuple[Tensor, float]:
        logits = self._logits(images, kept)
        loss = training_loss(logits, labels, self.config.label_smoothing)
        loss.backward()
        return logits, loss.item()

    def _logits(self, images: Tensor, kept: Kept) -> Tensor:
        with self._precision():
            return self.module(images, kept).float()


def prepare_pruning_net(
    network: Network,
    data: ImageData,
    space: CompressionSpace,
    recipe: Recipe,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> TrainedPruningNet | None:
    """Return the PruningNet that a recipe asks for; None where it asks for none.

    A GPU trains it where there is one; it is in the processor's memory afterwards. Killed at any
    moment and called again, it goes on behind the last whole epoch. It depends on network, train
    split, allowed widths, order of channels and configuration, not on any budget: whatever search
    has all of these alike uses the same one.

    Args:
        network: a traced network; stays as it is.
        data: its train split and its augmentation are used.
        space: says which widths are drawn.
        recipe: says how it is trained.
        folder: where trained ones are looked for and kept, made if need be; None keeps nothing.
        progress: called after every batch; what it raises ends the training.

    Raises:
        InvalidInput: the network is too large for the rank, the loss is no longer finite, a file
            in the folder is something else, or weights are to begin at random that only outputs
            depend on which nothing scores.
        StorageFailed: the disk did not take a file.
    """
    config = recipe.pruning_net
    if config is None:
        return None
    _check_start(network, config)
    ranking, device = _ranking(network, data, space, recipe), devices.fastest()
    key = digest(_identity(network, data, space, ranking, config, device))
    with seeded(config.seed):
        net = PruningNet(network, config.rank, config.starts_from)
        path = None if folder is None else _made(folder) / f"{key.removeprefix('sha256:')}"
        if path is not None and _finished(path).exists():
            return _read(net, key, _finished(path))
        run = PruningNetRun(net, data, config, Structures(space, ranking), device)
        epochs = _train(run, path, progress)
        net.to(devices.PROCESSOR)
    if path is not None:
        document = {"key": key, "epochs": [asdict(epoch) for epoch in epochs]}
        write_checkpoint(_finished(path), net.state_dict(), document)
        _unfinished(path).unlink(missing_ok=True)
    return TrainedPruningNet(net, key, epochs, is_reused=False)


def _check_start(network: Network, config: PruningNetConfig) -> None:
    """Refuse to lose what the training of the scored output does not bring back."""
    if config.starts_from == "random" and network.graph.unscored:
        raise InvalidInput(
            f"only outputs that are not scored depend on {', '.join(network.graph.unscored)}, "
            "which would keep the random weights that recipe.pruning_net.starts_from = 'random' "
            "gives them; take 'trained', or a network of the scored output alone"
        )


def _train(
    run: PruningNetRun, path: Path | None, progress: ProgressCallback | None
) -> tuple[EpochReport, ...]:
    if path is not None and _unfinished(path).exists():
        run.restore(_unfinished(path))
    while not run.is_finished():
        run.train_epoch(progress)
        if path is not None:
            run.save(_unfinished(path))
    return run.finish().epochs


def _read(net: PruningNet, key: str, path: Path) -> TrainedPruningNet:
    tensors, document = read_checkpoint(path)
    if document.get("key") != key:
        raise InvalidInput(f"{path} holds another PruningNet than its name says; delete it")
    load_weights(net, tensors)
    epochs = tuple(EpochReport(**epoch) for epoch in document["epochs"])
    return TrainedPruningNet(net.eval(), key, epochs, is_reused=True)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"the folder {folder} for trained PruningNets cannot be made ({error.strerror})"
        ) from error
    return folder


def _finished(path: Path) -> Path:
    return path.with_suffix(".safetensors")


def _unfinished(path: Path) -> Path:
    return path.with_suffix(".checkpoint.safetensors")


def _ranking(
    network: Network, data: ImageData, space: CompressionSpace, recipe: Recipe
) -> list[Tensor]:
    """Rank channels as the recipe's evaluator does."""
    train = data.split("train")
    calibration = train.subset(0, min(recipe.calibration_images, len(train)))
    batches = list(calibration.batches(recipe.batch_size))
    return ChannelSelector(network, batches, recipe.seed).ranking(space.options.criterion)


def _identity(
    network: Network,
    data: ImageData,
    space: CompressionSpace,
    ranking: Sequence[Tensor],
    config: PruningNetConfig,
    device: torch.device,
) -> dict[str, Any]:
    """Name all that decides the weights."""
    split, output = data.split("train"), selected_output(network.module)
    trained_on = {} if device == devices.PROCESSOR else {"device": device.type}
    used = split if config.images is None else split.subset(0, min(config.images, len(split)))
    return {
        "layout": LAYOUT,
        "graph": network.graph.fingerprint,
        "weights": weights_fingerprint(network.module),
        "images": _images_digest(used),
        "normalisation": asdict(data.normalisation),
        "augmentation": asdict(data.augmentation),
        "widths": space.allowed,
        "ranking": [group.tolist() for group in ranking],
        "config": asdict(config),
        **trained_on,
        **({} if output is None else {"output": output}),  # graph and weights are those of all
    }


def _images_digest(split: Split) -> str:
    content = hashlib.sha256(str(tuple(split.images.shape)).encode())
    for tensor in (split.images, split.labels):
        content.update(tensor.contiguous().view(-1).numpy().data)
    return content.hexdigest()
