"""The knobs of AMC, in its published and its corrected form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from automl_compress.core import Effort, SearchProblem
from automl_compress.core.errors import InvalidInput
from automl_envs.rewards import RewardName
from automl_envs.sites import decides_widths_alone
from automl_envs.walk import Limit

Mode = Literal["corrected", "faithful"]

MOST_EPISODES = 1000  # in the replay, where the configuration leaves it open

POSITIVE = (
    "noise_sigma", "noise_decay", "final_sigma", "tau", "batch_size", "replay_episodes",
    "actor_learning_rate", "critic_learning_rate",
)  # fmt: skip
# Far above what helps a search of this size, and below what exhausts the worker that runs it.
MOST = {"batch_size": 4096, "replay_episodes": 10_000}
MOST_HIDDEN_LAYERS, WIDEST_HIDDEN_LAYER = 4, 2048


@dataclass(frozen=True, slots=True)
class AmcConfig:
    """Everything that AMC does not learn. The defaults are the corrected mode.

    mode: `corrected`, or `faithful` to AMC's public code: its ten features, raw actions stored,
        the first transition of an episode never sampled, no learning before the warm-up ends;
        for widths alone.
    reward: what an episode is paid. `score` is the recipe's; `error_times_log_cost` is
        -(1 - accuracy) * ln(cost), in the budget's metric; `least_cost` is the share of the
        cost that was saved, less the accuracy that lacks to the job's accuracy floor. None for
        `least_cost` where the job has a floor, `score` where not.
    warmup_evaluations: how many policies are drawn at random first; None for a quarter of the
        effort.
    noise_sigma: of the truncated normal around the actor after the warm-up, in shares.
    noise_decay: factor on sigma with each later ask; None to end at `final_sigma`.
    final_sigma: sigma at the last evaluation, where noise_decay is None.
    limit: how the walk keeps to the budget: `scale`, `repair`, `bound` or, for widths alone,
        `published` (WalkRules). None for `scale` under the reward `score`, `repair` under one
        that pays for a lower cost.
    discount: of a step. The episode's reward is paid on every transition, so that with 0 a
        value is the mean reward of the episodes that went through there; 1, as published,
        adds the later values to it, and their errors.
    tau: share of the networks that the target networks take over in an update.
    batch_size: transitions in an update; there is one update for each stored transition.
    replay_episodes: how many episodes the replay keeps; None for all of the search.
    baseline_decay: how far the reward baseline moves to each batch's mean.
    actor_learning_rate, critic_learning_rate: of Adam, one for each network.
    hidden: widths of the hidden layers of actor and critic.
    profile_share: of the effort, for a sensitivity profile; the knapsack's solutions on it are
        walked through in the warm-up. 0 does without.
    """

    mode: Mode = "corrected"
    reward: RewardName | None = None
    warmup_evaluations: int | None = None
    noise_sigma: float = 0.3
    noise_decay: float | None = None
    final_sigma: float = 0.03
    limit: Limit | None = None
    discount: float = 0.0
    tau: float = 0.01
    batch_size: int = 64
    replay_episodes: int | None = None
    baseline_decay: float = 0.5
    actor_learning_rate: float = 1e-4
    critic_learning_rate: float = 1e-3
    hidden: tuple[int, ...] = (300, 300)
    profile_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        check_word("mode", self.mode, get_args(Mode))
        check_word("limit", self.limit, get_args(Limit))
        check_word("reward", self.reward, get_args(RewardName))
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInput(f"{name} is {value!r}; give a number above 0")
        check_most(self, MOST)
        for name in ("discount", "tau", "baseline_decay", "profile_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; give a number from 0 to 1")
        if self.warmup_evaluations is not None and self.warmup_evaluations < 0:
            raise InvalidInput(
                f"warmup_evaluations is {self.warmup_evaluations!r}; give an integer of at least 0"
            )
        if not 1 <= len(self.hidden) <= MOST_HIDDEN_LAYERS or not all(
            1 <= width <= WIDEST_HIDDEN_LAYER for width in self.hidden
        ):
            raise InvalidInput(
                f"hidden is {self.hidden!r}; give one to {MOST_HIDDEN_LAYERS} widths, each from 1 "
                f"to {WIDEST_HIDDEN_LAYER:,}"
            )

    @classmethod
    def faithful(cls) -> "AmcConfig":
        """Return the constants of AMC's public code (mit-han-lab/amc, amc_search.py).

        Its paper differs: 400 episodes instead of 800, warm-up by noise around the actor.
        """
        return cls(
            mode="faithful",
            warmup_evaluations=101,  # episodes 0 to 100: compared by <=
            noise_sigma=0.5,
            noise_decay=0.95,
            limit="published",
            discount=1.0,
            tau=0.01,
            batch_size=64,
            replay_episodes=100,  # 100 times the number of layers
            baseline_decay=0.5,
            actor_learning_rate=1e-4,
            critic_learning_rate=1e-3,
            hidden=(300, 300),
            profile_share=0.0,
        )

    @property
    def skips_first(self) -> bool:
        """Whether the first transition of an episode is never sampled."""
        return self.mode == "faithful"

    def refuses(self, problem: SearchProblem) -> str | None:
        """Say why these options cannot serve a problem; None where they can."""
        if (reason := self.reward_refusal(problem)) or decides_widths_alone(problem.space):
            return reason
        for name, published in (("mode", "faithful"), ("limit", "published")):
            if getattr(self, name) == published:
                return (
                    f"{name} {published!r} is AMC's code, which decides widths alone, and the "
                    f"space opens more; leave out {name}, or open widths alone"
                )
        return None

    def reward_refusal(self, problem: SearchProblem) -> str | None:
        """Say why the reward does not go with a problem or the limit; None where it does."""
        reward, has_floor = self.reward_of(problem), problem.accuracy_floor is not None
        if reward == "least_cost" and not has_floor:
            return "reward 'least_cost' needs the accuracy floor of the search; give accuracy_floor"
        if reward == "score" and has_floor:
            return (
                "reward 'score' pays nothing for a lower cost, which the accuracy_floor asks for; "
                "leave reward out"
            )
        if reward != "score" and self.limit == "scale":
            return (
                f"limit 'scale' brings every policy to the budget, so that reward {reward!r} has "
                "nothing to choose; leave limit out"
            )
        return None

    def reward_of(self, problem: SearchProblem) -> RewardName:
        """Return what an episode is paid in this problem."""
        if self.reward is not None:
            return self.reward
        return "score" if problem.accuracy_floor is None else "least_cost"

    def limit_of(self, problem: SearchProblem) -> Limit:
        """Return how the walk keeps to this problem's budget."""
        if self.limit is not None:
            return self.limit
        return "repair" if self.pays_for_cost(problem) else "scale"

    def pays_for_cost(self, problem: SearchProblem) -> bool:
        """Say whether an episode of the same accuracy and a lower cost is paid more."""
        return self.reward_of(problem) != "score"

    def episodes_kept(self, effort: Effort) -> int:
        """Return how many episodes the replay holds."""
        return self.replay_episodes or min(max(round(effort.evaluations), 1), MOST_EPISODES)

    def warmup(self, effort: Effort) -> int:
        """Return how many asks are random."""
        if self.warmup_evaluations is not None:
            return self.warmup_evaluations
        return max(round(effort.evaluations / 4), 1)

    def sigma(self, number: int, effort: Effort) -> float:
        """Return the standard deviation of the exploration noise of ask `number`.

        Faithful: 0.5 * 0.95^(number - 100), so that the first ask after the warm-up has 0.475.
        """
        after = number - self.warmup(effort) + 1
        decay = self.noise_decay
        if decay is None:
            asks = max(effort.evaluations - self.warmup(effort), 1.0)
            decay = min(self.final_sigma / self.noise_sigma, 1.0) ** (1.0 / asks)
        return self.noise_sigma * decay ** max(after, 0)


def check_word(name: str, word: str | None, known: tuple[str, ...]) -> None:
    """Refuse a word that an option does not know, None aside; raises InvalidInput."""
    if word is not None and word not in known:
        raise InvalidInput(f"{name} is {word!r}; choose one of: {', '.join(known)}")


def check_most(config: object, most: Mapping[str, int]) -> None:
    """Refuse options above these limits; raises InvalidInput."""
    for name, limit in most.items():
        value = getattr(config, name)
        if value is not None and value > limit:
            raise InvalidInput(f"{name} is {value:,}; give {limit:,} at most")
