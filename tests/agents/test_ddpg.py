import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DDPG
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.ddpg import EpisodeDdpg
from automl_agents.reinforcement.replay import EpisodeReplay

FEATURES = 5
OBSERVED = spaces.Box(0.0, 1.0, (FEATURES,), dtype=np.float32)
ACTED = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)


def episode(rng: np.random.Generator, steps: int = 4) -> tuple[np.ndarray, np.ndarray]:
    observations = rng.random((steps + 1, FEATURES), dtype=np.float32)
    return observations, rng.uniform(-1, 1, steps).astype(np.float32)


def replay_of(
    rng: np.random.Generator, episodes: int, capacity: int = 40, **options: bool
) -> EpisodeReplay:
    replay = EpisodeReplay(capacity, OBSERVED, ACTED, **options)
    for number in range(episodes):
        replay.add_episode(*episode(rng), reward=float(number))
    return replay


def first_transitions_in(replay: EpisodeReplay, draws: int = 400) -> int:
    firsts = replay.observations[: replay.size(), 0][replay._is_first[: replay.size()]]
    batch = replay.sample(draws).observations.numpy()
    return sum(any(np.array_equal(row, first) for first in firsts) for row in batch)


def test_replay_samples_the_first_transition_as_often_as_others(rng: np.random.Generator) -> None:
    # One of four transitions is a first one: 100 of 400 draws, standard deviation 9.
    assert 60 < first_transitions_in(replay_of(rng, 10)) < 140


def test_faithful_replay_never_samples_the_first_transition(rng: np.random.Generator) -> None:
    assert first_transitions_in(replay_of(rng, 10, skips_first=True)) == 0


def test_oldest_episodes_make_room(rng: np.random.Generator) -> None:
    replay = replay_of(rng, 13, capacity=10)

    assert replay.size() == 10
    assert set(replay.rewards.ravel().tolist()) == {10.0, 11.0, 12.0}


@pytest.mark.parametrize("episodes", [3, 13])
def test_restored_replay_samples_the_same(rng: np.random.Generator, episodes: int) -> None:
    replay = replay_of(rng, episodes, capacity=10)
    restored = EpisodeReplay(10, OBSERVED, ACTED)

    restored.restore(replay.arrays())

    for each in (replay, restored):
        each.add_episode(*episode(np.random.default_rng(5)), reward=0.5)
        each.rng = np.random.default_rng(9)
    batches = replay.sample(32), restored.sample(32)
    for mine, theirs in zip(*batches, strict=True):
        assert (mine is None and theirs is None) or torch.equal(mine, theirs)


def agent_of(**options: object) -> EpisodeDdpg:
    config = AmcConfig(**({"discount": 1.0, "hidden": (12, 12), "batch_size": 16} | options))  # type: ignore[arg-type]
    return EpisodeDdpg(OBSERVED, config, 40, seed=4)


class FixedReplay:
    """Gives the stock agent the batches that ours draws, less the baseline that ours subtracts."""

    def __init__(self, replay: EpisodeReplay, baseline_decay: float) -> None:
        self.replay, self.baseline_decay = replay, baseline_decay
        self.baseline: float | None = None

    def sample(self, batch_size: int, env: object = None) -> ReplayBufferSamples:
        batch = self.replay.sample(batch_size)
        mean = float(batch.rewards.mean())
        before = mean if self.baseline is None else self.baseline
        self.baseline = before + self.baseline_decay * (mean - before)
        return batch._replace(rewards=batch.rewards - self.baseline)


def test_update_is_that_of_stable_baselines_with_amcs_rates_and_baseline(
    rng: np.random.Generator,
) -> None:
    ours = agent_of()
    for number in range(8):
        ours.replay.add_episode(*episode(rng), reward=float(number))
    stock = DDPG(
        "MlpPolicy", None, batch_size=16, tau=0.01, gamma=1.0, device="cpu",
        policy_kwargs={"net_arch": [12, 12]}, _init_setup_model=False,
    )  # type: ignore[arg-type]  # fmt: skip
    stock.observation_space, stock.action_space, stock.n_envs = OBSERVED, ACTED, 1
    stock._setup_model()
    stock.policy.load_state_dict(ours.policy.state_dict())
    stock._update_learning_rate = lambda optimizers: None
    stock.actor.optimizer.param_groups[0]["lr"] = 1e-4
    stock.set_logger(Logger(None, []))
    stock.replay_buffer = FixedReplay(ours.replay, 0.5)  # type: ignore[assignment]

    ours.replay.rng = np.random.default_rng(6)
    ours.train(10, 16)
    ours.replay.rng = np.random.default_rng(6)
    stock.train(10, 16)

    theirs = stock.policy.state_dict()
    for name, tensor in ours.policy.state_dict().items():
        assert torch.allclose(tensor, theirs[name], atol=1e-5), name


def test_same_seed_gives_the_same_networks() -> None:
    first, second = agent_of().policy.state_dict(), agent_of().policy.state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_actor_proposes_shares(rng: np.random.Generator) -> None:
    agent = agent_of()

    shares = [agent.shares(rng.random(FEATURES, dtype=np.float32))[0] for _ in range(20)]

    assert all(0.0 <= share <= 1.0 for share in shares)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.2)


def test_critic_learns_the_reward_of_an_action(rng: np.random.Generator) -> None:
    agent = agent_of(
        discount=0.0, actor_learning_rate=1e-3, hidden=(32, 32), critic_learning_rate=1e-2
    )
    observations = np.full((2, FEATURES), 0.5, dtype=np.float32)
    for action in np.linspace(-1, 1, 33, dtype=np.float32):
        agent.replay.add_episode(
            observations, np.array([action]), reward=-(float(action - 0.6) ** 2)
        )

    agent.train(1500, 32)

    assert agent.shares(observations[0])[0] == pytest.approx(0.8, abs=0.1)  # action 0.6
