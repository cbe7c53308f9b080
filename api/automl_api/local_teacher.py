"""The trained network that a training on this machine learns from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from automl_api.commands.inputs import ModelInput, read_model
from automl_compress.core.errors import InvalidInput
from automl_compress.data.datasets import ImageData, check_fits
from automl_compress.networks.describe import logit_count
from automl_compress.networks.fingerprint import weights_fingerprint
from automl_compress.train.config import Distillation


@dataclass(frozen=True)
class TeacherRequest:
    """A teacher as the command line names it: as a MODEL, and how much is learned from it."""

    model: str
    weights: Path | None
    config: Mapping[str, Any]
    distillation: Distillation


@dataclass(frozen=True)
class Teacher:
    """A teacher whose network is not read yet."""

    told: ModelInput
    distillation: Distillation

    @classmethod
    def read(cls, request: TeacherRequest) -> "Teacher":
        """Read which network it is.

        Raises:
            InvalidInput: it is none, or has no trained weights.
        """
        try:
            told = read_model(request.model, request.weights, request.config)
        except InvalidInput as error:
            raise InvalidInput(f"the teacher cannot be used: {error}") from error
        if told.weights is None and told.program is None:
            raise InvalidInput(
                f"the teacher {request.model} has no trained weights; give their file as "
                "--teacher-weights"
            )
        return cls(told, request.distillation)

    def load(self, data: ImageData, logits: int) -> nn.Module:
        """Return its network.

        Args:
            data: what the student learns on.
            logits: that the student gives.

        Raises:
            InvalidInput: the network cannot be read, or not teach this student on these data.
        """
        try:
            module, input_shape = self.told.source.load_for_images(Path())
            check_fits(data, input_shape)
        except InvalidInput as error:
            raise InvalidInput(f"the teacher cannot be used: {error}") from error
        given = logit_count(module, input_shape)
        if given != logits:
            raise InvalidInput(
                f"the teacher gives {given} logits and the student {logits}; choose a teacher of "
                f"the same classes, or train with --config num_classes={given}"
            )
        known = self.told.normalisation
        used = asdict(data.normalisation)
        if known is not None and any(tuple(known[each]) != tuple(used[each]) for each in used):
            raise InvalidInput(
                f"the teacher was trained on images normalised by {dict(known)}, and these are by "
                f"{used}; give the teacher's as --mean and --std, or choose another teacher"
            )
        return module

    def note(self, module: nn.Module) -> dict[str, Any]:
        """Return what a weights file says of it; the module is its network."""
        source = self.told.source
        return {
            "teacher": self.told.name if source.architecture is None else source.architecture,
            "teacher_config": dict(source.config),
            "teacher_fingerprint": weights_fingerprint(module),
            **asdict(self.distillation),
        }
