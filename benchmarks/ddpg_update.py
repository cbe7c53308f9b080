"""Milliseconds of one DDPG update: ours against the stock `DDPG.train` of Stable-Baselines3.

Same networks (300-300), batch of 64, AMC's ten features, discount 1, one thread, process CPU
time, interleaved. Run it on a quiet machine: `python -m benchmarks.ddpg_update`.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DDPG
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger

from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.ddpg import EpisodeDdpg, action_space
from benchmarks.records import save

FEATURES, STEPS, EPISODES = 10, 15, 100
UPDATES, ROUNDS = 50, 15
OBSERVED = spaces.Box(0.0, 1.0, (FEATURES,), dtype=np.float32)


def ours(config: AmcConfig) -> EpisodeDdpg:
    agent = EpisodeDdpg(OBSERVED, config, STEPS * EPISODES, seed=0)
    rng = np.random.default_rng(0)
    for _ in range(EPISODES):
        observations = rng.random((STEPS + 1, FEATURES), dtype=np.float32)
        actions = rng.uniform(-1, 1, STEPS).astype(np.float32)
        agent.replay.add_episode(observations, actions, float(rng.random()))
    return agent


def stock(replay: ReplayBuffer) -> DDPG:
    agent = DDPG(
        "MlpPolicy",
        None,  # type: ignore[arg-type]
        batch_size=64,
        tau=0.01,
        gamma=1.0,
        device="cpu",
        policy_kwargs={"net_arch": [300, 300]},
        _init_setup_model=False,
    )
    agent.observation_space, agent.action_space, agent.n_envs = OBSERVED, action_space(1), 1
    agent.buffer_size = STEPS * EPISODES
    agent._setup_model()
    assert agent.replay_buffer is not None
    for place in range(replay.size()):
        agent.replay_buffer.add(
            replay.observations[place], replay.next_observations[place],
            replay.actions[place], replay.rewards[place], replay.dones[place], [{}],
        )  # fmt: skip
    agent.set_logger(Logger(None, []))
    return agent


def milliseconds(train: Callable[[], None]) -> float:
    began = time.process_time()
    train()
    return (time.process_time() - began) * 1000 / UPDATES


def main() -> None:
    torch.set_num_threads(1)
    published = ours(AmcConfig.faithful())
    corrected = ours(AmcConfig())
    agents = {"stock": stock(published.replay), "published": published, "corrected": corrected}
    measured: dict[str, list[float]] = {name: [] for name in agents}
    for agent in agents.values():
        agent.train(UPDATES, 64)  # warm
    for _ in range(ROUNDS):
        for name, agent in agents.items():
            measured[name].append(milliseconds(lambda agent=agent: agent.train(UPDATES, 64)))
    summary = {}
    for name, values in measured.items():
        summary[f"{name}.median_ms"] = round(statistics.median(values), 3)
        summary[f"{name}.minimum_ms"] = round(min(values), 3)
    for kind in ("median", "minimum"):
        ratio = summary[f"stock.{kind}_ms"] / summary[f"published.{kind}_ms"]
        summary[f"speedup_{kind}"] = round(ratio, 2)
    for name, value in summary.items():
        print(f"{name:24} {value}")
    save("ddpg-update", summary, {"rounds": measured, "updates": UPDATES}, [0])


if __name__ == "__main__":
    main()
