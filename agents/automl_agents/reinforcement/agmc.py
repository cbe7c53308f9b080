"""AGMC: AMC's agent with an embedding of the network's graph in its eyes."""

from collections.abc import Sequence

import numpy as np

from automl_agents.reinforcement.agmc_config import AgmcConfig
from automl_agents.reinforcement.ddpg import Encoding, EpisodeDdpg
from automl_agents.reinforcement.encoder import GraphFeatures
from automl_agents.reinforcement.encoder_file import read_encoder
from automl_agents.reinforcement.episode_searcher import (
    EpisodeSearcher,
    Parts,
    observation_box,
)
from automl_agents.reinforcement.noise import truncated_normal
from automl_agents.reinforcement.rewarded import behind_profile, reward_of
from automl_compress.core import Searcher, SearchProblem, Trial
from automl_envs.episode import Choose, Episode, towards
from automl_envs.network_graph import network_graph
from automl_envs.observation_catalogue import create_observation
from automl_envs.walk import LayerWalk, WalkRules

MOST_CUT_IN_WARMUP = 0.3  # of AGMC's code of 2021: U(0, 0.3), as fractions removed


class AgmcSearcher(EpisodeSearcher):
    """Walks through the network as AMC does, and sees the graph as it is cut so far.

    Beside AMC's corrected observation stands an embedding of the whole network: layers and
    coupled groups as nodes, data flow and membership as edges, and on each node how far it is
    cut, whether it is still to be decided, and whether it is decided now; the same of its
    density and bits where they are open. The encoder is trained end to end through both
    losses; all else is AMC's corrected mode.

    Departs from both public codes in what kept them from learning from the graph. The first
    (AGMC, 2020) stored embeddings as plain numbers, so that its encoder never had a gradient;
    GNN-RL's returned the embedding of a batch's first graph for all of them. Both describe
    nodes by random numbers.

    Source: Yu et al., Auto Graph Encoder-Decoder for Neural Network Pruning (ICCV 2021);
    Topology-Aware Network Pruning using Multi-stage Graph Embedding and Reinforcement
    Learning (ICML 2022).
    """

    def __init__(
        self,
        problem: SearchProblem,
        config: AgmcConfig,
        seeds: Sequence[Sequence[int]] = (),
    ) -> None:
        """Initialise encoder, actor and critic from the problem's seed.

        Args:
            problem: where to search.
            config: how.
            seeds: settings within the budget, walked through in the warm-up.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
            InvalidInput: the encoder to transfer cannot be read, or has other sizes; or the
                published limit, where more than widths is open.
        """
        walk = LayerWalk(problem.space, problem.budget, WalkRules(config.limit_of(problem)))
        observation = create_observation("corrected" if config.encoder == "none" else "graph", walk)
        agent = EpisodeDdpg(
            observation_box(observation),
            config,
            config.episodes_kept(problem.effort) * len(walk.order),
            problem.seed,
            actions=len(walk.kinds),
            encoding=_encoding(problem, config),
        )
        paid = reward_of(problem, config)
        super().__init__(problem, config, paid, Parts(walk, observation, agent), seeds)


class OneShotAgmcSearcher(EpisodeSearcher):
    """Decides all in one action, from the graph alone: AGMC as its ICCV paper has it.

    An episode is one step, so that the critic learns the reward of a vector of keep ratios, or
    of all shares that the space opens (a contextual bandit whose context is the uncut network).
    Its constants are those of the public codes of 2020 and 2021; their bugs it does not have:

    - 2021: all groups were drawn around one number, the mean of the actor's outputs. Here each
      is drawn around its own.
    - 2021: tanh bounded the critic's value to (-1, 1), and rewards were percent. Here it is
      linear, and rewards are the recipe's score.
    - 2020: a layer's cost ignored its stride, and proposals over the budget were corrected
      once, unchecked. Here they are scaled to the budget by costs of the cut network.
    - 2020: nodes were described by random numbers. Here they have attributes.
    - 2020: filters were masked, while batch norm and residual partners stayed as they were.
      Here groups are those of the traced network, and really cut.

    Besides, actor and critic share one encoder, as they read the same graph, and what is stored
    is the policy that was measured.
    """

    def __init__(self, problem: SearchProblem, config: AgmcConfig) -> None:
        """Initialise encoder, actor and critic from the problem's seed.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
            InvalidInput: the encoder to transfer cannot be read, or has other sizes.
        """
        walk = LayerWalk(problem.space, problem.budget, WalkRules(config.limit_of(problem)))
        observation = create_observation("decisions", walk)
        agent = EpisodeDdpg(
            observation_box(observation),
            config,
            config.episodes_kept(problem.effort),
            problem.seed,
            actions=len(walk.undecided),
            encoding=_encoding(problem, config),
        )
        self._uncut, self._decided = observation.observe(walk), list(walk.undecided)
        paid = reward_of(problem, config)
        super().__init__(problem, config, paid, Parts(walk, observation, agent))

    def _plan(self, number: int, rng: np.random.Generator) -> tuple[Choose, str]:
        if number < self._warmup:
            removed = rng.uniform(0.0, MOST_CUT_IN_WARMUP, len(self._decided))
            return self._at_once(1.0 - removed), "warm-up, all at once"
        sigma = self.config.sigma(number, self._problem.effort)
        means = self._agent.shares(self._uncut)
        drawn = [truncated_normal(rng, float(mean), sigma, 0.0, 1.0) for mean in means]
        return self._at_once(drawn), f"actor, all at once, noise {sigma:.3f}"

    def _at_once(self, drawn: Sequence[float] | np.ndarray) -> Choose:
        shares = np.ones(len(self._problem.space.decisions))
        shares[self._decided] = drawn
        return towards(shares)

    def _lesson(self, trial: Trial, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
        space = self._problem.space
        shares = space.shares(space.setting(trial.policy))[self._decided]
        return episode.observations[[0, -1]], shares.astype(np.float32)[None]

    def _is_learning(self) -> bool:
        # Batches repeat transitions where there are fewer: a batch's worth is 64 episodes here.
        return self._ledger.told > self._warmup


def _encoding(problem: SearchProblem, config: AgmcConfig) -> Encoding | None:
    if config.encoder == "none":
        return None
    weights = None if config.transfer_from is None else read_encoder(config.transfer_from)
    return Encoding(
        GraphFeatures,
        {
            "network": network_graph(problem.space),
            "sizes": (config.encoder_width, config.encoder_rounds, config.embedding),
            "weights": weights,
        },
        config.encoder_learning_rate if config.trains_encoder else None,
    )


def create_agmc(problem: SearchProblem, config: AgmcConfig) -> Searcher:
    """Build the searcher of the configured mode, behind a profile where it gets a share."""
    if config.mode == "faithful":
        return OneShotAgmcSearcher(problem, config)
    return behind_profile(problem, config, lambda seeds: AgmcSearcher(problem, config, seeds))
