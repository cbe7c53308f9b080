"""Every searcher: what it is, its configuration, and where its code lies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

from automl_agents.allocation.config import (
    DpConfig,
    GlobalConfig,
    GreedyConfig,
    MicroNetConfig,
    SensitivityConfig,
)
from automl_agents.auto.config import AutoConfig
from automl_agents.evolution.metapruning_config import MetaPruningConfig
from automl_agents.evolution.tec_config import TecConfig
from automl_agents.optuna_search.config import CmaesConfig, GpConfig, Nsga2Config, TpeConfig
from automl_agents.portfolio_config import PortfolioConfig
from automl_agents.reinforcement.agmc_config import AgmcConfig
from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.haq_config import HaqConfig
from automl_compress.core import Searcher, SearchProblem


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The configuration of a searcher that has no knobs."""


def _serves_all(_problem: SearchProblem, _config: Any) -> str | None:
    return None


def _as_configured(problem: SearchProblem, config: Any) -> str | None:
    return config.refuses(problem)


@dataclass(frozen=True, slots=True)
class Entry:
    """A searcher of the catalogue.

    configuration: a frozen dataclass; one with a published mode makes it by `faithful()`.
    searcher: `module:name` of what builds it from a problem and its configuration. Nothing
        heavy is loaded before, so that names are listed and options checked in any process.
    recipe: how its method scores candidates: where a job leaves it open, it is so, and another
        one is refused.
    refuses: says why it cannot serve a problem; None where it can.
    path_options: options that name a file, for searches on one's own machine alone.
    shares_budgets: whether it serves several budgets itself, with what it learns of one; the
        others run once for each.
    seeks_least_cost: whether it can search the least cost at an accuracy floor; the others
        spend their budget.
    """

    summary: str
    configuration: Any
    searcher: str
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refuses: Callable[[SearchProblem, Any], str | None] = _serves_all
    path_options: tuple[str, ...] = ()
    shares_budgets: bool = False
    seeks_least_cost: bool = False

    def defaults(self, options: Mapping[str, Any]) -> Any:
        """Return the configuration where these options leave it open."""
        has_modes = hasattr(self.configuration, "faithful")
        if has_modes and options.get("mode") == "faithful":
            return self.configuration.faithful()
        return self.configuration()

    def create(self, problem: SearchProblem, config: Any) -> Searcher:
        """Build the searcher."""
        build = resolve_name(self.searcher)
        return build(problem) if isinstance(config, NoOptions) else build(problem, config)


SEARCHERS: Mapping[str, Entry] = {
    "auto": Entry(
        "The default: sensitivity profile, knapsack, a surrogate over moves, then single filters.",
        AutoConfig,
        "automl_agents.auto.searcher:AutoSearcher",
        shares_budgets=True,
        seeks_least_cost=True,
    ),
    "uniform": Entry(
        "One share for every decision, as large as the budget allows. A baseline.",
        NoOptions,
        "automl_agents.uniform:UniformSearcher",
    ),
    "random": Entry(
        "Random shares, each draw scaled to the budget. The baseline at equal effort.",
        NoOptions,
        "automl_agents.random_search:RandomSearcher",
    ),
    "sensitivity": Entry(
        "Profiles every decision alone, then lowers each as far as one common drop allows.",
        SensitivityConfig,
        "automl_agents.allocation.sensitivity:SensitivitySearcher",
    ),
    "micronet": Entry(
        "No search: the ratios and bits of the MicroNet Challenge's winners, and a profile.",
        MicroNetConfig,
        "automl_agents.allocation.micronet:MicroNetSearcher",
    ),
    "dp": Entry(
        "Profiles every decision alone, then solves the knapsack over losses, as SPDY does.",
        DpConfig,
        "automl_agents.allocation.dp:DpSearcher",
    ),
    "greedy": Entry(
        "NetAdapt: step by step, the cut that hurts least among those that save enough.",
        GreedyConfig,
        "automl_agents.allocation.greedy:GreedySearcher",
    ),
    "global": Entry(
        "One threshold on the importance of all channels, with a floor for each group.",
        GlobalConfig,
        "automl_agents.allocation.global_threshold:GlobalSearcher",
        refuses=_as_configured,
    ),
    "eagleeye": Entry(
        "EagleEye: random search whose candidates get new batch-norm statistics (Li et al. 2020).",
        NoOptions,
        "automl_agents.random_search:RandomSearcher",
        recipe={"repair": "recalibration"},
    ),
    "amc": Entry(
        "AMC: a DDPG actor decides layer by layer (He et al. 2018); corrected or faithful mode.",
        AmcConfig,
        "automl_agents.reinforcement.amc:create_amc",
        refuses=_as_configured,
        seeks_least_cost=True,
    ),
    "agmc": Entry(
        "AGMC: AMC with an embedding of the network's graph, trained end to end (Yu et al. 2021).",
        AgmcConfig,
        "automl_agents.reinforcement.agmc:create_agmc",
        refuses=_as_configured,
        path_options=("transfer_from",),
        seeks_least_cost=True,
    ),
    "haq": Entry(
        "HAQ: a DDPG actor decides bits, layer by layer (Wang et al. 2019); corrected or faithful "
        "mode.",
        HaqConfig,
        "automl_agents.reinforcement.haq:create_haq",
        refuses=_as_configured,
        seeks_least_cost=True,
    ),
    "metapruning": Entry(
        "MetaPruning: evolution of keep ratios on weights that a PruningNet generates (Liu et al. "
        "2019); corrected or faithful mode.",
        MetaPruningConfig,
        "automl_agents.evolution.metapruning:MetaPruningSearcher",
        recipe={"weights": "pruning_net", "repair": "recalibration"},
    ),
    "tpe": Entry(
        "Optuna's tree-structured Parzen estimator over all decisions, multivariate.",
        TpeConfig,
        "automl_agents.optuna_search.samplers:create_tpe",
    ),
    "nsga2": Entry(
        "Optuna's NSGA-II over all decisions: a genetic algorithm that keeps its elite.",
        Nsga2Config,
        "automl_agents.optuna_search.samplers:create_nsga2",
    ),
    "cmaes": Entry(
        "CMA-ES over all decisions, from the uniform policy outwards.",
        CmaesConfig,
        "automl_agents.optuna_search.samplers:create_cmaes",
    ),
    "gp": Entry(
        "Optuna's Gaussian process over all decisions. For small spaces and few evaluations.",
        GpConfig,
        "automl_agents.optuna_search.samplers:create_gp",
        refuses=_as_configured,
    ),
    "tec": Entry(
        "TEC: evolution of filter masks, one bit a filter (Wang et al. 2018). For small networks.",
        TecConfig,
        "automl_agents.evolution.tec:TecSearcher",
        refuses=_as_configured,
    ),
    "portfolio": Entry(
        "Several searchers in one study: they share its effort, its answers and its front.",
        PortfolioConfig,
        "automl_agents.portfolio:PortfolioSearcher",
    ),
}
