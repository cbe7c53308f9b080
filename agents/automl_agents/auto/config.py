"""The knobs of the `auto` searcher."""

from dataclasses import dataclass

from automl_compress.core.errors import InvalidInput

MOST_IMAGES = 1_000_000  # that screen a policy


@dataclass(frozen=True, slots=True)
class AutoConfig:
    """How `auto` spends an effort.

    profile_share: of the effort, for the sensitivity profile, or for comparing parts of the space
        in its place; 0 does without either.
    subset_images: so many images screen a policy before all of them score it; 0 scores every
        policy on all images.
    screened: policies screened for each that is scored on all images.
    error_probability: a screened policy is not scored on all images while the surrogate gives it
        less than this probability of being better than the best.
    narrow_share: of the effort, until the rounds leave that part of the space which compares
        best: one bit-width for all layers, channels or single weights removed or both; 0 opens
        the whole space at once. A space without bits that removes one of the two has no parts.
    filter_share: of the effort that is left, for exchanging filters of the best policy; 0 keeps
        those that the criterion ranks highest.
    width_evaluations: so many for each width that the budget counts come before filters are
        exchanged, whatever the share: the filters of widths that do not fit win little.
    filter_images: as subset_images, for exchanges of filters.
    """

    profile_share: float = 0.1
    subset_images: int = 256
    screened: int = 10
    error_probability: float = 0.05
    narrow_share: float = 0.2
    filter_share: float = 0.5
    width_evaluations: float = 4.0
    filter_images: int = 128

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name in ("profile_share", "error_probability", "narrow_share", "filter_share"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InvalidInput(
                    f"{name} of searcher 'auto' is {getattr(self, name)!r}; "
                    "give a number from 0 to below 1"
                )
        if not self.width_evaluations >= 0.0:
            raise InvalidInput(
                f"width_evaluations of searcher 'auto' is {self.width_evaluations!r}; "
                "give a number of at least 0"
            )
        for name, most in (
            ("subset_images", MOST_IMAGES),
            ("filter_images", MOST_IMAGES),
            ("screened", 100),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise InvalidInput(
                    f"{name} of searcher 'auto' is {getattr(self, name)!r}; "
                    f"give a whole number from 0 to {most:,}"
                )
