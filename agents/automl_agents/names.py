"""The names of all searchers, for places that may load nothing else."""

SEARCHER_NAMES = (
    "auto",
    "uniform",
    "random",
    "sensitivity",
    "micronet",
    "dp",
    "greedy",
    "global",
    "eagleeye",
    "amc",
    "agmc",
    "haq",
    "metapruning",
    "tpe",
    "nsga2",
    "cmaes",
    "gp",
    "tec",
    "portfolio",
)
