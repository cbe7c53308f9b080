"""How far to trust an accuracy."""

from math import sqrt
from statistics import NormalDist

from automl_compress.core.errors import InvalidInput


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the interval that holds the true accuracy with this confidence.

    Args:
        correct: 0 to `total`.
        total: images scored, 1 or more.
        confidence: above 0, below 1.

    Returns:
        Lower and upper end, fractions in [0, 1].

    Raises:
        InvalidInput: an argument out of range.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference",
    JASA 22; unlike the normal interval, right also near 0 and 1 and for few images.
    """
    if total < 1 or not 0 <= correct <= total or not 0 < confidence < 1:
        raise InvalidInput(
            f"{correct} right of {total} at confidence {confidence} has no interval; give "
            "0 <= correct <= total, total of 1 or more, and 0 < confidence < 1"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    margin = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)
