"""Steps as they run in evaluation, also where a network was exported in training mode."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from automl_compress.networks.program_file.layers import arguments_of
from automl_compress.networks.program_file.steps import Reference, Step

_ATEN = "torch.ops.aten."
_BATCH_NORM = f"{_ATEN}batch_norm.default"
_ATTENTION = f"{_ATEN}scaled_dot_product_attention.default"
_DROPOUTS = {
    f"{_ATEN}{name}.default"
    for name in ("dropout", "dropout_", "feature_dropout", "feature_dropout_")
}


def is_dropout(step: Step) -> bool:
    """Tell whether a step drops values in training."""
    return step.target in _DROPOUTS


def in_evaluation(step: Step) -> Step:
    """Return the step with everything off that only training does."""
    if is_dropout(step):
        return _with(step, {"train": False})
    if step.target == _ATTENTION:
        return _with(step, {"dropout_p": 0.0})
    if step.target == _BATCH_NORM:
        # A norm that keeps no statistics takes those of the batch, in evaluation too.
        keeps = isinstance(arguments_of(step).get("running_mean"), Reference)
        return _with(step, {"training": False}) if keeps else step
    return step


def _with(step: Step, changed: Mapping[str, Any]) -> Step:
    arguments = arguments_of(step)
    if not set(changed) <= set(arguments):
        return step  # an argument is missing; the dry run says which
    return replace(step, arguments=(), keywords={**arguments, **changed})
