"""What can be chosen about a network of the zoo, and the checks of those choices."""

import math
from dataclasses import dataclass
from typing import ClassVar

from automl_compress.core.errors import InvalidInput


@dataclass(frozen=True)
class ImageConfig:
    """A network that classifies square images.

    Attributes:
        in_channels: 1 for grey, 3 for colour; 1 to 1,024.
        num_classes: 2 to 100,000.
        image_size: height and width in pixels, `minimum_size` to `maximum_size`.
    """

    minimum_size: ClassVar[int] = 4
    maximum_size: ClassVar[int] = 1024

    in_channels: int = 3
    num_classes: int = 10
    image_size: int = 32

    def __post_init__(self) -> None:
        """Raise `InvalidInput` for the first field that is out of range."""
        require_integer("in_channels", self.in_channels, 1, 1024)
        require_integer("num_classes", self.num_classes, 2, 100_000)
        require_integer("image_size", self.image_size, self.minimum_size, self.maximum_size)


def image_shape(config: ImageConfig) -> tuple[int, int, int]:
    """Give the shape (C, H, W) of one input."""
    return config.in_channels, config.image_size, config.image_size


def require_integer(field: str, value: object, lowest: int, highest: int) -> None:
    """Raise `InvalidInput` unless `value` is an integer from `lowest` to `highest`."""
    # bool is an int to Python, but in_channels=True is a mistake.
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidInput(
            f"{field} is {value!r}; give a whole number from {lowest:,} to {highest:,}"
        )


def require_number(field: str, value: object, lowest: float, highest: float) -> None:
    """Raise `InvalidInput` unless `value` is a finite number from `lowest` to `highest`."""
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    if not lowest <= number <= highest:  # false for NaN, too
        raise InvalidInput(f"{field} is {value!r}; give a number from {lowest:g} to {highest:g}")
