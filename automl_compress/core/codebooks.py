"""What the codebooks of shared weights take."""

from automl_compress.core.policy import FLOAT_BITS

SHARING = "kmeans"  # the quantiser whose channels have a codebook each
_SHARED_BITS = range(2, 9)  # one bit is a sign and a scale, 16 are a scale's


def codebook_bits(bits: int) -> int:
    """Return what the codebook of one channel takes, in bits, for codes of `bits` bits."""
    return FLOAT_BITS * 2**bits if bits in _SHARED_BITS else 0
