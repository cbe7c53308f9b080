"""Measurements of the tree that they stand in."""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("automl_compress", "automl_envs", "automl_agents", "automl_api")


def check_one_tree() -> None:
    """End the program if any of our packages would be imported from another tree than this one.

    An environment that two trees share has the packages of the one that it was installed from.
    """
    for name in _PACKAGES:
        found = find_spec(name)
        place = None if found is None or found.origin is None else Path(found.origin).resolve()
        if place is None or not place.is_relative_to(ROOT):
            sys.exit(
                f"{name} would come from {place}, the benchmark is that of {ROOT}: its figures "
                "would be of neither. Install this tree (`make install`), or set PYTHONPATH to "
                "its root, agents, envs and api"
            )


check_one_tree()
