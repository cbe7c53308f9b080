"""What this installation offers."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

from automl_agents import catalogue
from automl_api.files.recognition import FileFormat
from automl_api.intake import inspect_installation
from automl_compress import __version__
from automl_compress.core import BIT_WIDTHS, METRICS
from automl_compress.core.recipe import Backend, Repair, Signal, Weights
from automl_compress.core.space_options import SparsityScheme
from automl_compress.core.weight_grids import QUANTISER_BITS
from automl_compress.store.paging import LARGEST_PAGE
from automl_compress.targets import TARGETS

_SHOWN_PACKAGES = (
    "torch",
    "numpy",
    "safetensors",
    "stable-baselines3",
    "fastapi",
    "dbos",
    "onnxruntime",
    "openvino",
)


def capabilities(max_upload_bytes: int) -> dict[str, Any]:
    """Collect it; what needs torch is asked of a child process, once."""
    return {
        "searchers": catalogue.describe(),
        "quantisers": list(QUANTISER_BITS),
        "schemes": list(get_args(SparsityScheme)),
        "bit_widths": list(BIT_WIDTHS),
        "repairs": list(get_args(Repair)),
        "signals": list(get_args(Signal)),
        "weights": list(get_args(Weights)),
        "backends": list(get_args(Backend)),
        "budget_metrics": list(METRICS),
        "latency_targets": list(TARGETS),
        **installation(),
        "file_formats": list(get_args(FileFormat)),
        "limits": {"max_upload_bytes": max_upload_bytes, "largest_page": LARGEST_PAGE},
        "versions": versions(),
    }


@cache
def installation() -> dict[str, Any]:
    """Return the names of what is installed; the first call takes seconds."""
    return inspect_installation()


@cache
def versions() -> dict[str, str]:
    """Return the versions of this project and of the packages that results depend on."""
    found = {"automl-compress": __version__}
    for name in _SHOWN_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
