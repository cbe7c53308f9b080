"""DDPG of Stable-Baselines3 with AMC's update, for agents that are asked and told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3 import DDPG
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.replay import EpisodeReplay

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of a parameter


def action_space(actions: int) -> spaces.Box:
    """Return the space of so many shares at once, scaled from [0, 1] to [-1, 1]."""
    return spaces.Box(-1.0, 1.0, (actions,), dtype=np.float32)


@dataclass(frozen=True)
class Encoding:
    """What stands between an observation and both networks.

    kind: built twice, for the networks and for their targets; actor and critic share it.
    arguments: for `kind`, after the observation space.
    learning_rate: of Adam; None leaves the encoder as it is initialised.
    """

    kind: type[BaseFeaturesExtractor]
    arguments: Mapping[str, Any]
    learning_rate: float | None


class EpisodeDdpg(DDPG):
    """An actor, a critic and their update, without an environment.

    Departs from the stock algorithm where AMC does: a learning rate for each network, rewards
    less a moving average, and no noise in here. The fused optimiser and the averaging of all
    target parameters in one call take half the time of the stock update
    (benchmarks/ddpg_update.py).

    An encoder, where there is one, is trained end to end: the replay holds plain observations,
    each update encodes its batch anew, and one pass back takes the gradients of both losses.
    The actor's loss reaches the encoder through the action alone; through the critic's own
    input it would teach the encoder to flatter the critic.

    Attributes:
        baseline: moving average of the batches' mean rewards; None before the first batch.
        replay: past episodes, to be filled by the caller.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        config: AmcConfig,
        capacity: int,
        seed: int,
        *,
        actions: int = 1,
        encoding: Encoding | None = None,
    ) -> None:
        """Initialise the networks; the same seed gives the same weights.

        Args:
            observation_space: of F numbers.
            config: rates and sizes.
            capacity: transitions in the replay.
            seed: of the initial weights; torch's own generator is left as it was.
            actions: how many shares the actor proposes at once.
            encoding: how observations are encoded; None shows them as they are.
        """
        super().__init__(
            "MlpPolicy",
            env=None,  # type: ignore[arg-type]
            buffer_size=capacity,
            batch_size=config.batch_size,
            tau=config.tau,
            gamma=config.discount,
            replay_buffer_class=EpisodeReplay,
            replay_buffer_kwargs={"skips_first": config.skips_first},
            policy_kwargs=_policy_arguments(config, encoding),
            device="cpu",
            _init_setup_model=False,
        )
        self.observation_space, self.n_envs = observation_space, 1
        self.action_space = action_space(actions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed % 2**63)
            self._setup_model()
        self.replay = cast(EpisodeReplay, self.replay_buffer)
        self._baseline_decay = config.baseline_decay
        self.baseline: float | None = None
        self._name_parts(config, encoding)

    def _name_parts(self, config: AmcConfig, encoding: Encoding | None) -> None:
        """Take references and lists once: walking through modules costs a tenth of an update."""
        self._network, self._target = self.critic.q_networks[0], self.critic_target.q_networks[0]
        self._encoder = self.actor.features_extractor
        self._target_encoder = self.actor_target.features_extractor
        rate = None if encoding is None else encoding.learning_rate
        self._of_actor: list[Tensor] = list(self.actor.mu.parameters())
        self._of_critic: list[Tensor] = list(self._network.parameters())
        self._of_encoder: list[Tensor] = [] if rate is None else list(self._encoder.parameters())
        # The stock optimisers hold the shared encoder too, and would move it a second time.
        self.actor.optimizer = _adam(self._of_actor, config.actor_learning_rate)
        self.critic.optimizer = _adam(self._of_critic, config.critic_learning_rate)
        self._encoder_optimizer = None if rate is None else _adam(self._of_encoder, rate)
        self._trained = self._of_actor + self._of_critic + self._of_encoder
        self._averaged: list[Tensor] = [
            *self.actor_target.mu.parameters(),
            *self._target.parameters(),
            *(self._target_encoder.parameters() if self._of_encoder else ()),
        ]
        self._average = get_ema_multi_avg_fn(1.0 - config.tau)

    def shares(self, observation: np.ndarray) -> np.ndarray:
        """Return the actor's proposals for one observation, (F,), in [0, 1]; without noise.

        float64, (A,).
        """
        with torch.inference_mode():
            proposed = self.actor.mu(self._encoder(torch.from_numpy(observation)[None]))
        return (proposed[0].numpy().astype(np.float64) + 1.0) / 2.0

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update actor and critic on so many batches of the replay."""
        self.policy.set_training_mode(True)
        for _ in range(gradient_steps):
            self._update(batch_size)
        self._n_updates += gradient_steps

    def _update(self, batch_size: int) -> None:
        batch = self.replay.sample(batch_size)
        targets = self._targets(batch)
        with torch.set_grad_enabled(self._encoder_optimizer is not None):
            encoded = self._encoder(batch.observations)  # (B, F)
        seen = encoded.detach().requires_grad_(self._encoder_optimizer is not None)
        towards_seen = self._descend(seen, batch.actions, targets)
        if self._encoder_optimizer is not None:
            gradients = torch.autograd.grad(encoded, self._of_encoder, towards_seen)
            _step(self._encoder_optimizer, self._of_encoder, gradients)
        with torch.no_grad():
            self._average(self._averaged, self._trained, None)

    def _descend(self, seen: Tensor, actions: Tensor, targets: Tensor) -> Tensor | None:
        """Update critic, then actor; return both losses' gradient to `seen` if it wants one."""
        inputs = [seen] if seen.requires_grad else []
        values = self._network(torch.cat([seen, actions], dim=1))
        loss = F.mse_loss(values, targets)
        through_value = _descend(loss, self._of_critic, self.critic.optimizer, inputs)
        proposed = self.actor.mu(seen)
        value = self._network(torch.cat([seen.detach(), proposed], dim=1)).mean()
        through_action = _descend(-value, self._of_actor, self.actor.optimizer, inputs)
        return through_value[0] + through_action[0] if inputs else None

    def _targets(self, batch: ReplayBufferSamples) -> Tensor:
        targets = batch.rewards - self._moved_baseline(batch.rewards)  # (B, 1)
        if self.gamma > 0.0:
            targets += (1.0 - batch.dones) * self.gamma * self._next_values(batch)
        return targets

    def _next_values(self, batch: ReplayBufferSamples) -> Tensor:
        with torch.no_grad():
            seen = self._target_encoder(batch.next_observations)
            return self._target(torch.cat([seen, self.actor_target.mu(seen)], dim=1))

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

    def _optimised(self) -> list[tuple[torch.optim.Optimizer, Tensor]]:
        parts = [
            (self.actor.optimizer, self._of_actor),
            (self.critic.optimizer, self._of_critic),
            (self._encoder_optimizer, self._of_encoder),
        ]
        return [
            (optimizer, parameter)
            for optimizer, parameters in parts
            if optimizer is not None
            for parameter in parameters
        ]

    def _moments(self) -> list[tuple[int, str, Tensor]]:
        return [
            (place, kind, optimizer.state[parameter][kind])
            for place, (optimizer, parameter) in enumerate(self._optimised())
            if parameter in optimizer.state
            for kind in MOMENTS
        ]


def _policy_arguments(config: AmcConfig, encoding: Encoding | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {"net_arch": list(config.hidden)}
    if encoding is not None:
        arguments |= {
            "features_extractor_class": encoding.kind,
            "features_extractor_kwargs": dict(encoding.arguments),
            "share_features_extractor": True,
        }
    return arguments


def _adam(parameters: list[Tensor], learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)


def _descend(
    loss: Tensor,
    parameters: list[Tensor],
    optimizer: torch.optim.Optimizer,
    inputs: list[Tensor],
) -> Sequence[Tensor]:
    """Update one network alone; return the gradients of its inputs."""
    # The actor's loss leads through the critic too, so that backward() would reach both.
    gradients = torch.autograd.grad(loss, [*parameters, *inputs])
    _step(optimizer, parameters, gradients[: len(parameters)])
    return gradients[len(parameters) :]


def _step(
    optimizer: torch.optim.Optimizer, parameters: list[Tensor], gradients: Sequence[Tensor]
) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
