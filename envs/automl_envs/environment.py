"""The layer walk as a Gymnasium environment: the door for stock algorithms and notebooks."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from automl_compress.core import Budget, CompressionSpace, Evaluator
from automl_envs.observation_catalogue import create_observation
from automl_envs.rewards import Reward, score_under_budget
from automl_envs.walk import LayerWalk, WalkRules


class CompressionEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One episode decides one policy; its last step evaluates it.

    A step decides a group where the space opens widths alone, a layer otherwise. The action
    holds a share in [0, 1] for each kind that it opens, in the order of `walk.kinds`: keep
    ratio, density, weight bits, activation bits (LayerWalk). Only the last step pays a reward;
    its info holds `policy` and `measurement`. Every step's info holds `realised`, what the
    action became: the shares by kind, of the kinds that were decided there. Observations are
    those that the ask-and-tell searcher sees.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(
        self,
        space: CompressionSpace,
        budget: Budget,
        evaluator: Evaluator,
        *,
        observation: str = "corrected",
        reward: Reward = score_under_budget,
        rules: WalkRules | None = None,
    ) -> None:
        """Build the walk.

        Args:
            space: the decisions and their allowed values.
            budget: what a compressed network may cost.
            evaluator: scores each episode's policy; its errors come out of `step`.
            observation: `corrected`, or `published` where widths alone are open.
            reward: of the last step.
            rules: how actions become values; None for the corrected ones.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
            InvalidInput: rules or observation are for widths alone, and more is open.
            UnknownName: no observation has this name.
        """
        self.walk = LayerWalk(space, budget, rules or WalkRules())
        self._observation = create_observation(observation, self.walk)
        self._evaluator, self._reward = evaluator, reward
        highest = self._observation.highest
        self.observation_space = spaces.Box(np.zeros_like(highest), highest, dtype=np.float32)
        self.action_space = spaces.Box(0.0, 1.0, (len(self.walk.kinds),), dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; nothing here is random."""
        super().reset(seed=seed)
        self.walk.reset()
        return self._observation.observe(self.walk), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Decide one site.

        Raises:
            WrongState: the episode has ended; call `reset`.
        """
        decides = self.walk.site.decides
        realised = zip(self.walk.kinds, self.walk.step(np.ravel(action)), decides, strict=True)
        info: dict[str, Any] = {
            "realised": {kind: float(share) for kind, share, is_here in realised if is_here}
        }
        reward = 0.0
        if self.walk.is_done:
            policy = self.walk.policy()
            measurement = self._evaluator.evaluate(policy)
            reward = self._reward(measurement, self.walk.space.full)
            info |= {"policy": policy, "measurement": measurement}
        observation = self._observation.observe(self.walk)
        return observation, float(reward), self.walk.is_done, False, info
