"""The library: from a trained network and a budget to a policy and a smaller network."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl_compress.compress.apply import apply_policy
    from automl_compress.core import Budget, Effort, Recipe, SpaceOptions, StudySpec
    from automl_compress.core.document import PolicyDocument
    from automl_compress.data.loading import load_data
    from automl_compress.export.formats import export_network
    from automl_compress.networks.architectures import build_network, load_weights
    from automl_compress.networks.outputs import select_output
    from automl_compress.networks.program_file.reading import read_program
    from automl_compress.networks.trace import trace
    from automl_compress.search.compression import CompressionResult, compress_network

__version__ = "0.1.0"

# Name -> module; loaded on first use, so that importing the package stays cheap.
_DOOR = {
    "apply_policy": "automl_compress.compress.apply",
    "compress_network": "automl_compress.search.compression",
    "CompressionResult": "automl_compress.search.compression",
    "export_network": "automl_compress.export.formats",
    "load_data": "automl_compress.data.loading",
    "build_network": "automl_compress.networks.architectures",
    "load_weights": "automl_compress.networks.architectures",
    "read_program": "automl_compress.networks.program_file.reading",
    "select_output": "automl_compress.networks.outputs",
    "trace": "automl_compress.networks.trace",
    "PolicyDocument": "automl_compress.core.document",
    "Budget": "automl_compress.core",
    "Effort": "automl_compress.core",
    "Recipe": "automl_compress.core",
    "SpaceOptions": "automl_compress.core",
    "StudySpec": "automl_compress.core",
}

__all__ = [
    "Budget",
    "CompressionResult",
    "Effort",
    "PolicyDocument",
    "Recipe",
    "SpaceOptions",
    "StudySpec",
    "__version__",
    "apply_policy",
    "build_network",
    "compress_network",
    "export_network",
    "load_data",
    "load_weights",
    "read_program",
    "select_output",
    "trace",
]


def __getattr__(name: str) -> Any:
    """Load what the door offers."""
    if name not in _DOOR:
        raise AttributeError(f"module 'automl_compress' has no attribute {name!r}")
    return getattr(import_module(_DOOR[name]), name)


def __dir__() -> list[str]:
    """List what the door offers."""
    return list(__all__)
