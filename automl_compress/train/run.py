"""The state of one training and its single steps."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import ImageData
from automl_compress.networks.architectures import load_weights
from automl_compress.networks.fingerprint import weights_fingerprint
from automl_compress.train.accuracy import count_correct, evaluate_accuracy, evaluating
from automl_compress.train.checkpoint import extract, nested, read_checkpoint, write_checkpoint
from automl_compress.train.config import Distillation, TrainingConfig
from automl_compress.train.holdout import hold_out
from automl_compress.train.loss import training_loss
from automl_compress.train.progress import ProgressCallback, TrainingProgress
from automl_compress.train.report import EpochReport, TrainingReport
from automl_compress.train.schedule import learning_rate_at


class TrainingRun:
    """The state of one training, which is what a checkpoint holds."""

    def __init__(
        self,
        module: nn.Module,
        data: ImageData,
        config: TrainingConfig,
        max_train_images: int | None = None,
    ) -> None:
        """Begin at epoch 0; `module` moves to the config's device and memory format."""
        self.module, self.data, self.config = module, data, config
        self.trained_on, self.holdout = hold_out(data.split("train"), config, max_train_images)
        self.teacher: nn.Module | None = None
        self.distillation: Distillation | None = None
        self.rng = np.random.default_rng(config.seed)
        self.reports: list[EpochReport] = []
        self.best_weights: dict[str, Tensor] = {}
        is_channels_last = config.channels_last and len(data.input_shape) == 3  # (C, H, W)
        self.memory_format = torch.channels_last if is_channels_last else torch.contiguous_format
        self._move(self.memory_format)
        named = module.named_parameters()
        self.parameters = {name: value for name, value in named if value.requires_grad}
        self.optimizer = torch.optim.SGD(
            self.parameters.values(),
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _move(self, memory_format: torch.memory_format) -> None:
        # torch's stubs don't know the keyword memory_format.
        self.module.to(self.config.device).to(memory_format=memory_format)  # type: ignore[call-overload]

    def distil(self, teacher: nn.Module | None, distillation: Distillation | None) -> None:
        """Learn from `teacher`, too.

        Raises:
            InvalidInput: a way of distillation, without anybody to learn from.
        """
        if distillation is not None and teacher is None:
            raise InvalidInput("distillation needs a teacher; give the uncut network as teacher")
        self.teacher = teacher
        self.distillation = None if teacher is None else distillation or Distillation()

    def is_finished(self) -> bool:
        """Tell whether all epochs are done, or patience has run out."""
        return len(self.reports) >= self.config.epochs or self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        patience = self.config.early_stop_patience
        return patience is not None and len(self.reports) - self._kept_epoch() >= patience

    def _kept_epoch(self) -> int:
        """Number the epoch whose weights are kept, 0 before the first."""
        if self.config.early_stop_patience is None or not self.reports:
            return len(self.reports)
        # The earliest of equals, as max finds it.
        return max(self.reports, key=lambda report: report.holdout_accuracy or 0.0).epoch

    def train_epoch(self, progress: ProgressCallback | None = None) -> None:
        """Go once through the images.

        Raises:
            InvalidInput: the loss is no longer finite.
        """
        config, epoch = self.config, len(self.reports) + 1
        started = time.perf_counter(), time.process_time()
        batches = self.trained_on.training_batch_count(config.batch_size)
        loss_sum, correct, seen = 0.0, 0, 0
        self.module.train()
        pairs = self.trained_on.training_batches(
            config.batch_size, self.rng, self.data.augmentation
        )
        for batch, (images, labels) in enumerate(pairs, start=1):
            self._set_learning_rate((epoch - 1) * batches + batch - 1, config.epochs * batches)
            loss, right = self._step(images.to(config.device), labels.to(config.device))
            self._check_finite(loss, epoch, batch)
            loss_sum += loss * len(labels)
            correct += right
            seen += len(labels)
            if progress is not None:
                state = (epoch, config.epochs, batch, batches, loss_sum / seen, correct / seen)
                progress(TrainingProgress(*state))
        self._close_epoch(epoch, loss_sum / seen, correct / seen, started)

    def _check_finite(self, loss: float, epoch: int, batch: int) -> None:
        if not math.isfinite(loss):
            raise InvalidInput(
                f"the loss became {loss} in epoch {epoch}, batch {batch}; lower learning_rate "
                f"(now {self.config.learning_rate:g}), or check that the images are normalised"
            )

    def _close_epoch(
        self, epoch: int, loss: float, accuracy: float, started: tuple[float, float]
    ) -> None:
        held = None
        if self.holdout is not None:
            right, total = evaluate_accuracy(self.module, self.holdout)
            held = right / total
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        self.reports.append(EpochReport(epoch, loss, accuracy, held, wall, cpu))
        if self.config.early_stop_patience is not None and self._kept_epoch() == epoch:
            weights = self.module.state_dict()
            self.best_weights = {key: value.clone() for key, value in weights.items()}

    def _set_learning_rate(self, step: int, steps: int) -> None:
        highest = self.config.learning_rate
        rate = learning_rate_at(self.config.schedule, highest, step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """Do one update; give the loss and how many images were right."""
        images = images.contiguous(memory_format=self.memory_format)
        with self._precision():
            logits = self.module(images).float()
        teacher_logits = self._teacher_logits(images)
        smoothing = self.config.label_smoothing
        loss = training_loss(logits, labels, smoothing, teacher_logits, self.distillation)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item(), count_correct(logits, labels)

    def _teacher_logits(self, images: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        with evaluating(self.teacher), torch.no_grad(), self._precision():
            return self.teacher(images).float()

    def _precision(self) -> torch.autocast:
        is_mixed = self.config.precision == "bfloat16"
        kind = torch.device(self.config.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=is_mixed)

    def finish(self) -> TrainingReport:
        """Give the module the weights that are kept, and leave it ready for use."""
        if self.best_weights:
            self.module.load_state_dict(self.best_weights)
        self.module.eval()
        self._move(torch.contiguous_format)
        is_stopped_early = len(self.reports) < self.config.epochs
        provenance = self.trained_on.provenance
        return TrainingReport(tuple(self.reports), self._kept_epoch(), is_stopped_early, provenance)

    def save(self, path: Path) -> None:
        """Write a checkpoint; raises `StorageFailed` if the disk doesn't take it."""
        tensors = {
            **nested("model", self.module.state_dict()),
            **nested("momentum", self._momentum()),
            **nested("best", self.best_weights),
            "torch_rng": torch.get_rng_state(),
        }
        document = {
            "identity": self._identity(),
            "reports": [asdict(report) for report in self.reports],
            "rng": self.rng.bit_generator.state,
        }
        write_checkpoint(path, tensors, document)

    def _momentum(self) -> dict[str, Tensor]:
        states = {name: self.optimizer.state[value] for name, value in self.parameters.items()}
        buffers = {name: state.get("momentum_buffer") for name, state in states.items()}
        return {name: buffer for name, buffer in buffers.items() if buffer is not None}

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            InvalidInput: it is of another training.
            WeightsMismatch: it is of another network.
        """
        tensors, document = read_checkpoint(path)
        self._check_identity(path, document)
        load_weights(self.module, extract("model", tensors))
        self.best_weights = extract("best", tensors)
        for name, value in extract("momentum", tensors).items():
            parameter = self.parameters[name]
            # Laid out in memory like its parameter: the fused update walks both side by side.
            buffer = torch.empty_like(parameter).copy_(value)
            self.optimizer.state[parameter]["momentum_buffer"] = buffer.detach()
        self.rng.bit_generator.state = document["rng"]
        torch.set_rng_state(tensors["torch_rng"])
        self.reports = [EpochReport(**report) for report in document["reports"]]

    def _identity(self) -> dict[str, Any]:
        """Say what must be equal for a resumed training to make sense."""
        distillation: dict[str, Any] = {}
        if self.distillation is not None and self.teacher is not None:
            teacher = weights_fingerprint(self.teacher)
            distillation = {**asdict(self.distillation), "teacher": teacher}
        return {
            "config": asdict(self.config),
            "distillation": distillation,
            "data": {"name": self.data.name, "trained on": self.trained_on.provenance},
        }

    def _check_identity(self, path: Path, document: Mapping[str, Any]) -> None:
        saved, own = _flat(document.get("identity", {})), _flat(self._identity())
        differing = [
            f"{key} {saved.get(key)!r} instead of {own.get(key)!r}"
            for key in sorted({*saved, *own})
            if saved.get(key) != own.get(key)
        ]
        if differing:
            raise InvalidInput(
                f"{path} is the checkpoint of another training ({'; '.join(differing)}); delete "
                "it to begin anew, or train with the same settings"
            )


def _flat(identity: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for part in identity.values() for key, value in part.items()}
