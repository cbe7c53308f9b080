"""Packages that only some data need."""

from importlib import import_module
from typing import Any

from automl_compress.core.errors import InvalidInput


def require(module: str, package: str, purpose: str) -> Any:
    """Import a `module` of an optional `package`.

    Raises:
        InvalidInput: it isn't installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InvalidInput(
            f"{purpose} needs the package {package}, which cannot be imported ({error}); install "
            "it with: pip install automl-compress[search]"
        ) from error
