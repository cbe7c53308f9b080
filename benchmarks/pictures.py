"""How plots become files: the same figures give the same bytes."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "automl-compress"
mpl.rcParams["svg.fonttype"] = "none"  # text stays text

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"


def save(figure: Figure, name: str) -> str:
    """Write docs/benchmarks/NAME.svg; return the file's name."""
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    return f"{name}.svg"
