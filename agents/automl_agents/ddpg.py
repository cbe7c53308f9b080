"""DDPG of Stable-Baselines3 with AMC's update, for agents that are asked and told."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3 import DDPG
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from automl_agents.amc_config import AmcConfig
from automl_agents.replay import EpisodeReplay

ACTION_SPACE = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)  # keep ratio 0 to 1, scaled
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of a parameter


class EpisodeDdpg(DDPG):
    """An actor, a critic and their update, without an environment.

    Departs from the stock algorithm where AMC does: a learning rate for each network, rewards
    less a moving average, and no noise in here. The fused optimiser and the averaging of all
    target parameters in one call take half the time of the stock update
    (benchmarks/ddpg_update.py).

    Attributes:
        baseline: moving average of the batches' mean rewards; None before the first batch.
        replay: past episodes, to be filled by the caller.
    """

    def __init__(
        self, observation_space: spaces.Box, config: AmcConfig, capacity: int, seed: int
    ) -> None:
        """Initialise the networks; the same seed gives the same weights.

        Args:
            observation_space: of F numbers.
            config: rates and sizes.
            capacity: transitions in the replay.
            seed: of the initial weights; torch's own generator is left as it was.
        """
        super().__init__(
            "MlpPolicy",
            env=None,  # type: ignore[arg-type]
            buffer_size=capacity,
            batch_size=config.batch_size,
            tau=config.tau,
            gamma=config.discount,
            replay_buffer_class=EpisodeReplay,
            replay_buffer_kwargs={"skips_first": config.mode == "faithful"},
            policy_kwargs={
                "net_arch": list(config.hidden),
                "optimizer_class": torch.optim.Adam,
                "optimizer_kwargs": {"fused": True},
            },
            device="cpu",
            _init_setup_model=False,
        )
        self.observation_space, self.action_space, self.n_envs = observation_space, ACTION_SPACE, 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed % 2**63)
            self._setup_model()
        self.replay = cast(EpisodeReplay, self.replay_buffer)
        self._set_learning_rates(config)
        self._baseline_decay = config.baseline_decay
        self.baseline: float | None = None
        self._network, self._target = self.critic.q_networks[0], self.critic_target.q_networks[0]
        # Lists, made once: walking through the modules costs a tenth of an update.
        self._of_actor: list[Tensor] = list(self.actor.parameters())
        self._of_critic: list[Tensor] = list(self.critic.parameters())
        self._trained = self._of_actor + self._of_critic
        self._averaged: list[Tensor] = [
            *self.actor_target.parameters(),
            *self.critic_target.parameters(),
        ]
        self._average = get_ema_multi_avg_fn(1.0 - config.tau)

    def _set_learning_rates(self, config: AmcConfig) -> None:
        for network, rate in (
            (self.actor, config.actor_learning_rate),
            (self.critic, config.critic_learning_rate),
        ):
            for parameters in network.optimizer.param_groups:
                parameters["lr"] = rate

    def keep_ratio(self, observation: np.ndarray) -> float:
        """Return the actor's proposal for one observation, (F,), in [0, 1]; without noise."""
        with torch.inference_mode():
            action = self.actor.mu(torch.from_numpy(observation)[None])
        return (float(action) + 1.0) / 2.0

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update actor and critic on so many batches of the replay."""
        self.policy.set_training_mode(True)
        for _ in range(gradient_steps):
            self._update(batch_size)
        self._n_updates += gradient_steps

    def _update(self, batch_size: int) -> None:
        batch = self.replay.sample(batch_size)
        targets = batch.rewards - self._moved_baseline(batch.rewards)  # (B, 1)
        if self.gamma > 0.0:
            targets += (1.0 - batch.dones) * self.gamma * self._next_values(batch)
        values = self._network(torch.cat([batch.observations, batch.actions], dim=1))
        loss = F.mse_loss(values, targets)
        _descend(loss, self._of_critic, self.critic.optimizer)
        actions = self.actor.mu(batch.observations)
        value = self._network(torch.cat([batch.observations, actions], dim=1)).mean()
        _descend(-value, self._of_actor, self.actor.optimizer)
        with torch.no_grad():
            self._average(self._averaged, self._trained, None)

    def _next_values(self, batch: ReplayBufferSamples) -> Tensor:
        with torch.no_grad():
            actions = self.actor_target.mu(batch.next_observations)
            return self._target(torch.cat([batch.next_observations, actions], dim=1))

    def _moved_baseline(self, rewards: Tensor) -> float:
        mean = float(rewards.mean())
        if self.baseline is None:
            self.baseline = mean
        self.baseline += self._baseline_decay * (mean - self.baseline)
        return self.baseline

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of networks, optimisers and replay."""
        state = {
            f"policy.{name}": tensor.numpy().copy()
            for name, tensor in self.policy.state_dict().items()
        }
        for place, kind, moments in self._moments():
            state[f"adam.{place}.{kind}"] = moments.numpy().copy()
        return state | {f"replay.{k}": v for k, v in self.replay.arrays().items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what `arrays` returned; keys without a prefix of ours are left alone."""
        self.policy.load_state_dict(
            {
                k.removeprefix("policy."): torch.from_numpy(v.copy())
                for k, v in arrays.items()
                if k.startswith("policy.")
            }
        )
        for place, (optimizer, parameter) in enumerate(self._optimised()):
            moments = {k: arrays.get(f"adam.{place}.{k}") for k in MOMENTS}
            if moments["step"] is not None:
                optimizer.state[parameter] = {
                    k: torch.from_numpy(v.copy()) for k, v in moments.items() if v is not None
                }
        self.replay.restore(
            {k.removeprefix("replay."): v for k, v in arrays.items() if k.startswith("replay.")}
        )

    def _optimised(self) -> list[tuple[torch.optim.Optimizer, nn.Parameter]]:
        return [
            (network.optimizer, parameter)
            for network in (self.actor, self.critic)
            for parameter in network.parameters()
        ]

    def _moments(self) -> list[tuple[int, str, Tensor]]:
        return [
            (place, kind, optimizer.state[parameter][kind])
            for place, (optimizer, parameter) in enumerate(self._optimised())
            if parameter in optimizer.state
            for kind in MOMENTS
        ]


def _descend(loss: Tensor, parameters: list[Tensor], optimizer: torch.optim.Optimizer) -> None:
    # Gradients of one network alone: the actor's loss leads through the critic too.
    gradients = torch.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
