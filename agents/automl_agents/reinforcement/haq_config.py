"""The knobs of HAQ: those of AMC, with its own published form."""

from dataclasses import dataclass

from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.bits_space import opens_bits, with_bits_alone
from automl_compress.core import SearchProblem
from automl_compress.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class HaqConfig(AmcConfig):
    """Everything that HAQ does not learn; what AMC has too is explained in AmcConfig.

    mode: `corrected` decides all bits of a layer in one step, projects them to the budget and
        learns from what was measured; `faithful` to HAQ's public code: its features, its map
        from actions to bits, a step for the weights and one for the activations of each layer,
        bits subtracted from the last layer to the first, raw actions stored, no learning before
        the warm-up ends.
    limit: how the walk keeps to the budget: `scale`, `repair` or `bound` (WalkRules); `published`,
        of the faithful mode alone, is HAQ's sweep. None as in AMC.
    replay_episodes: how many episodes the replay keeps; None for all of the search. In the
        faithful mode, as published, how many transitions for each layer.
    """

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, and those that contradict each other."""
        AmcConfig.__post_init__(self)  # super() does not know the class that slots made
        if (self.mode == "faithful") != (self.limit == "published"):
            raise InvalidInput(
                f"limit is {self.limit!r} and mode {self.mode!r}; the sweep, 'published', belongs "
                "to the faithful mode and that mode to it; leave limit out"
            )

    @property
    def skips_first(self) -> bool:
        """HAQ's code fills the entry between episodes that AMC's indexing misses."""
        return False

    def refuses(self, problem: SearchProblem) -> str | None:
        """Say why it cannot serve a problem; None where it can."""
        if (reason := self.reward_refusal(problem)) is not None:
            return reason
        space, budget = problem.space, problem.budget
        if not space.within(space.smallest, budget):
            return None  # a budget that nothing reaches is refused as such
        if not opens_bits(space):
            return (
                "it decides bits, and no layer has a choice of them; give the space weight_bits "
                "or activation_bits"
            )
        bits = with_bits_alone(problem).space
        if bits.within(bits.smallest, budget):
            return None
        least = bits.costs.cost(bits.smallest).of(budget.metric)
        return (
            f"it leaves channels and densities whole, and bits alone bring {budget.metric} to "
            f"{least:,} where {budget.limit(space.full):,} are allowed; allow more, or fewer bits"
        )

    @classmethod
    def faithful(cls) -> "HaqConfig":
        """Return the constants of HAQ's public code (mit-han-lab/haq, rl_quantize.py)."""
        return cls(
            mode="faithful",
            warmup_evaluations=21,  # episodes 0 to 20: compared by <=
            noise_sigma=0.5,
            noise_decay=0.99,
            limit="published",
            discount=1.0,
            tau=0.01,
            batch_size=64,
            replay_episodes=128,  # 128 times the number of layers
            baseline_decay=0.5,
            actor_learning_rate=1e-4,
            critic_learning_rate=1e-3,
            hidden=(300, 300),
            profile_share=0.0,
        )
