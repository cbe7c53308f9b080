"""Cost models: what a policy costs, counted without building the network."""

from automl_compress.costs.analytic import AnalyticCosts

__all__ = ["AnalyticCosts"]
