"""The knobs of the searchers that allocate without a search; loads nothing heavy."""

from dataclasses import dataclass

from automl_agents.decisions import refusal_of_layers
from automl_compress.core import BIT_WIDTHS, SearchProblem
from automl_compress.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """How the sensitivity profile is measured.

    levels: values of each decision, spread evenly down to the space's smallest.
    profile_images: how many images score each of them.
    profile_share: of the effort; levels, then images, are fewer where it would cost more.
    """

    levels: int = 9
    profile_images: int = 256
    profile_share: float = 1 / 3

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        _check_counts(self, "levels", "profile_images")
        if not 0.0 < self.profile_share <= 1.0:
            raise InvalidInput(
                f"profile_share is {self.profile_share!r}; give a number above 0 and at most 1"
            )


@dataclass(frozen=True, slots=True)
class SensitivityConfig(ProfileOptions):
    """The knobs of `sensitivity`: it asks little besides its profile, which may cost more."""

    profile_images: int = 512
    profile_share: float = 0.6


@dataclass(frozen=True, slots=True)
class MicroNetConfig(ProfileOptions):
    """The knobs of `micronet`: the winners' own where they are left alone.

    sparsity: fraction of a layer's weights that becomes zero.
    weight_bits: of every layer but the last.
    activation_bits: of the inputs of every layer but the first and the last, which stay float.
    last_sparsity: that of the last layer.
    last_weight_bits: those of the last layer.
    """

    profile_share: float = 1.0
    sparsity: float = 0.75
    weight_bits: int = 4
    activation_bits: int = 4
    last_sparsity: float = 0.5
    last_weight_bits: int = 6

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        ProfileOptions.__post_init__(self)
        for name in ("sparsity", "last_sparsity"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)!r}; give a number from 0 to below 1"
                )
        for name in ("weight_bits", "activation_bits", "last_weight_bits"):
            if getattr(self, name) not in BIT_WIDTHS:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)!r}; choose one of: "
                    f"{', '.join(map(str, BIT_WIDTHS))}"
                )


@dataclass(frozen=True, slots=True)
class DpConfig(ProfileOptions):
    """The knobs of `dp`.

    refine: whether effort that is left searches each decision's coefficient, as SPDY does; false
        leaves the handful of allocations that the profile gives.
    random_share: of that effort, for random coefficients, before the local search begins; none,
        for measured losses are a better start than SPDY's layer errors, which need it.
    resample: share of the decisions whose coefficients a step of the local search draws again.
    spread: standard deviation of a coefficient's logarithm.
    """

    refine: bool = True
    random_share: float = 0.0
    resample: float = 0.1
    spread: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        ProfileOptions.__post_init__(self)
        for name in ("random_share", "resample"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; give a number from 0 to 1")
        if not self.spread > 0.0:
            raise InvalidInput(f"spread is {self.spread!r}; give a number above 0")


@dataclass(frozen=True, slots=True)
class GreedyConfig:
    """The knobs of `greedy`.

    iterations: how many cuts lead from the uncut network to the budget; None for as many as the
        effort allows, 40 at most.
    decay: factor on what a cut saves from one iteration to the next.
    probe_images: how many images score a proposal; None for as many as the effort allows.
    final_share: of the effort, for full evaluations of the last proposals.
    """

    iterations: int | None = None
    decay: float = 0.96
    probe_images: int | None = None
    final_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        _check_counts(self, "iterations", "probe_images")
        if not 0.0 < self.decay <= 1.0:
            raise InvalidInput(f"decay is {self.decay!r}; give a number above 0 and at most 1")
        if not 0.0 <= self.final_share < 1.0:
            raise InvalidInput(
                f"final_share is {self.final_share!r}; give a number from 0 to below 1"
            )


@dataclass(frozen=True, slots=True)
class GlobalConfig:
    """The knobs of `global`.

    floor: share of each group's channels that the threshold never removes; given up where the
        budget cannot be met otherwise.
    """

    floor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a floor outside its range."""
        if not 0.0 <= self.floor <= 1.0:
            raise InvalidInput(f"floor is {self.floor!r}; give a number from 0 to 1")

    def refuses(self, problem: SearchProblem) -> str | None:
        """Say why a threshold on channels cannot serve this; None where it can."""
        return refusal_of_layers(problem.space)


def _check_counts(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InvalidInput(f"{name} is {value!r}; give an integer of at least 1")
