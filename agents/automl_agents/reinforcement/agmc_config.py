"""The knobs of AGMC: those of AMC, and those of its graph encoder."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from automl_agents.reinforcement.amc_config import AmcConfig, check_most, check_word
from automl_compress.core import SearchProblem
from automl_compress.core.errors import InvalidInput

EncoderKind = Literal["trained", "frozen_random", "none"]

# With the most that each may be: such an encoder still trains within a search.
SIZES = {"encoder_width": 512, "encoder_rounds": 32, "embedding": 512}


@dataclass(frozen=True, slots=True)
class AgmcConfig(AmcConfig):
    """Everything that AGMC does not learn; what AMC has too is explained in AmcConfig.

    mode: `corrected` walks from group to group and sees AMC's corrected observation beside the
        embedding of the graph as it is cut so far; `faithful` is the one-shot form of the ICCV
        paper: one action for all decisions, from the graph alone (OneShotAgmcSearcher).
    encoder: `trained` end to end by the losses of actor and critic; `frozen_random` stays as
        it was initialised, so that only its topology informs; `none` leaves the graph out.
    transfer_from: path of a safetensors file that `save_encoder` wrote, after a search on
        another network; the encoder begins with these weights.
    freeze_encoder: whether a transferred encoder stays as it came.
    encoder_learning_rate: of Adam, for both losses together.
    encoder_width: numbers for each node within the encoder.
    encoder_rounds: how far, in edges, a node hears of others.
    embedding: numbers that describe the whole graph.
    """

    encoder: EncoderKind = "trained"
    transfer_from: str | None = None
    freeze_encoder: bool = False
    encoder_learning_rate: float = 3e-4  # between those of actor and critic
    encoder_width: int = 32
    encoder_rounds: int = 3
    embedding: int = 32

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, and those that contradict each other."""
        AmcConfig.__post_init__(self)  # super() does not know the class that slots made
        check_word("encoder", self.encoder, get_args(EncoderKind))
        for name in (*SIZES, "encoder_learning_rate"):
            if not getattr(self, name) > 0:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; give a number above 0")
        check_most(self, SIZES)
        if self.transfer_from is not None and self.encoder != "trained":
            raise InvalidInput(
                f"transfer_from goes with encoder 'trained', not with {self.encoder!r}; leave one "
                "of them out (freeze_encoder keeps transferred weights as they are)"
            )
        if self.freeze_encoder and self.transfer_from is None:
            raise InvalidInput(
                "freeze_encoder without transfer_from would freeze random weights; name a file, "
                "or say encoder 'frozen_random' where that is wanted"
            )
        if self.mode == "faithful" and self.encoder == "none":
            raise InvalidInput(
                "the faithful mode sees nothing but the graph, and encoder is 'none'; choose "
                "'trained' or 'frozen_random', or the corrected mode"
            )

    def refuses(self, problem: SearchProblem) -> str | None:
        """Say why these options cannot serve a problem; the one-shot form decides anything."""
        return AmcConfig.refuses(replace(self, mode="corrected"), problem)

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder learns."""
        return self.encoder == "trained" and not self.freeze_encoder

    @classmethod
    def faithful(cls) -> "AgmcConfig":
        """Return the constants of AGMC's public code (2020 and 2021).

        DDPG's are AMC's, but for a shorter warm-up and a replay of 100 in total: one transition
        is an episode here. An episode ends with its only action, so nothing is discounted.
        """
        return cls(
            mode="faithful",
            warmup_evaluations=25,
            noise_sigma=0.5,
            noise_decay=0.95,
            limit=None,
            discount=0.0,
            tau=0.01,
            batch_size=64,
            replay_episodes=100,
            baseline_decay=0.5,
            actor_learning_rate=1e-4,
            critic_learning_rate=1e-3,
            hidden=(300, 300),
            profile_share=0.0,
        )
