"""Benchmarks measure the tree that they stand in."""

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

import benchmarks


def test_a_package_of_another_tree_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks.check_one_tree()

    def elsewhere(name: str) -> ModuleSpec | None:
        if name != "automl_agents":
            return importlib.util.find_spec(name)
        return ModuleSpec(name, None, origin="/opt/another/automl_agents/__init__.py")

    monkeypatch.setattr(benchmarks, "find_spec", elsewhere)
    with pytest.raises(SystemExit, match=r"automl_agents would come from /opt/another/.*install"):
        benchmarks.check_one_tree()
