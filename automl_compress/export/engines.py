"""The packages that only exports need, asked for when they are needed."""

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from automl_compress.core.errors import InvalidInput

# What writes an ONNX file, and what runs it for the check.
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require(package: str, purpose: str) -> Any:
    """Import a package of the extra `[engines]`.

    Args:
        package: its import name.
        purpose: begins the message where it is missing, "an ONNX file" for instance.

    Raises:
        InvalidInput: it cannot be imported; the message says how to install it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise InvalidInput(
            f"{purpose} needs the package {package}, which cannot be imported ({error}); install "
            "it with: pip install automl-compress[engines]"
        ) from error


def is_installed(*packages: str) -> bool:
    """Say whether all these packages are there; none of them is imported."""
    return all(find_spec(package) is not None for package in packages)


def version_of(package: str) -> str:
    """Return the version of an installed package."""
    return version(package)
