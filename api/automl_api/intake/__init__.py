"""Checking what users register, in a child process that may use only so much."""

from automl_api.intake.inspection import (
    check_policy,
    inspect_dataset,
    inspect_installation,
    inspect_model,
    sample_images,
)

__all__ = [
    "check_policy",
    "inspect_dataset",
    "inspect_installation",
    "inspect_model",
    "sample_images",
]
