"""Nouns, protocols, errors and units: no torch, no input or output."""

from automl_compress.core.budget import METRICS, Budget, Cost, Effort, Metric
from automl_compress.core.confirmation import Confirmation
from automl_compress.core.decision import Decision, DecisionKind
from automl_compress.core.goal import Goal
from automl_compress.core.graph import (
    ChannelGroup,
    ElementwiseUse,
    Layer,
    LayerGraph,
    Obstacle,
    StoredTensor,
    Width,
)
from automl_compress.core.policy import BIT_WIDTHS, Choice, LayerChoice, Policy, kept_channels
from automl_compress.core.protocols import (
    Asked,
    CostModel,
    Evaluator,
    Executor,
    Outcome,
    Recall,
    Recalled,
    Searcher,
    Snapshot,
    Told,
    TrialStore,
)
from automl_compress.core.pruning_net import PruningNetConfig
from automl_compress.core.recipe import Recipe
from automl_compress.core.space import CompressionSpace
from automl_compress.core.space_options import SpaceOptions
from automl_compress.core.study import SearchProblem, StudySpec
from automl_compress.core.trial import Measurement, Role, Suggestion, Trial, TrialState

__all__ = [
    "BIT_WIDTHS",
    "METRICS",
    "Asked",
    "Budget",
    "ChannelGroup",
    "Choice",
    "CompressionSpace",
    "Confirmation",
    "Cost",
    "CostModel",
    "Decision",
    "DecisionKind",
    "Effort",
    "ElementwiseUse",
    "Evaluator",
    "Executor",
    "Goal",
    "Layer",
    "LayerChoice",
    "LayerGraph",
    "Measurement",
    "Metric",
    "Obstacle",
    "Outcome",
    "Policy",
    "PruningNetConfig",
    "Recall",
    "Recalled",
    "Recipe",
    "Role",
    "SearchProblem",
    "Searcher",
    "Snapshot",
    "SpaceOptions",
    "StoredTensor",
    "StudySpec",
    "Suggestion",
    "Told",
    "Trial",
    "TrialState",
    "TrialStore",
    "Width",
    "kept_channels",
]
