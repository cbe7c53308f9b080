"""Sparse integers as Deep Compression stores them: relative indices and values in Huffman codes.

    ================== ============================================================
    signed varint      the most frequent integer, which is not stored
    byte               g, bits of a gap
    varint             number of stored integers
    signed varint      the smallest of them
    Huffman code       gaps: how many integers are left out before each, 0 to 2^g - 1
    Huffman code       the stored integers less the smallest
    ================== ============================================================

Where more than 2^g - 1 are left out, fillers of the most frequent integer are stored between. What
follows the last stored integer is left out.

Source: Han et al., "Deep Compression", ICLR 2016, sections 2 and 4, with gaps of 8 bits for
convolutions and 5 for fully-connected layers.
"""

import numpy as np

from automl_compress.compress.packing.byte_fields import ByteReader, signed_varint, varint
from automl_compress.compress.packing.huffman import MOST_SYMBOLS, huffman_bytes, read_huffman
from automl_compress.core.errors import InvalidInput

RELATIVE_LAYOUT = 2  # the first byte of such an array
_CONVOLUTION_GAP_BITS, _LINEAR_GAP_BITS = 8, 5
_MOST_GAP_BITS = 12
_FARTHEST = 2**60


def encode_relative(values: np.ndarray) -> bytes:
    """Write an array of integers in the format of Deep Compression.

    `encode_integers` takes fewer bytes; this is for comparison. Both are read by
    `decode_integers`.

    Args:
        values: integers of any type, less than 4,096 apart; those with more than two axes are
            taken for a convolution's.

    Raises:
        InvalidInput: the values are no integers, or too far apart.
    """
    if values.dtype.kind not in "iu":
        raise InvalidInput(f"values are of type {values.dtype}; only integers can be coded")
    gap_bits = _CONVOLUTION_GAP_BITS if values.ndim > 2 else _LINEAR_GAP_BITS
    flat = values.reshape(-1).astype(np.int64)
    frequent = _most_frequent(flat)
    gaps, stored = _with_fillers(flat, frequent, gap_bits)
    lowest = int(stored.min(initial=frequent))
    head = signed_varint(frequent) + bytes([gap_bits]) + varint(len(stored)) + signed_varint(lowest)
    content = huffman_bytes(gaps) + huffman_bytes(stored - lowest)
    return bytes([RELATIVE_LAYOUT]) + head + content


def decode_relative(reader: ByteReader, count: int) -> np.ndarray:
    """Read what `encode_relative` wrote behind its first byte, int64 (count,).

    Raises:
        DataInvalid: the content is truncated or damaged.
    """
    frequent, gap_bits = reader.signed_varint(), reader.byte()
    stored, lowest = reader.varint(), reader.signed_varint()
    if stored > count or gap_bits > _MOST_GAP_BITS or max(abs(frequent), abs(lowest)) > _FARTHEST:
        raise reader.invalid(f"it stores {stored:,} of {count:,} integers at {gap_bits} bits")
    gaps = read_huffman(reader, stored)
    values = read_huffman(reader, stored)
    reader.end()
    places = np.cumsum(gaps + 1) - 1
    if stored and (int(gaps.max()) >= 1 << gap_bits or int(places[-1]) >= count):
        raise reader.invalid("its gaps lead beyond its end")
    found = np.full(count, frequent, dtype=np.int64)
    found[places] = values + lowest
    return found


def _most_frequent(flat: np.ndarray) -> int:
    if not flat.size:
        return 0
    lowest, highest = int(flat.min()), int(flat.max())
    if highest - lowest >= MOST_SYMBOLS or abs(lowest) > _FARTHEST:
        raise InvalidInput(
            f"values run from {lowest:,} to {highest:,}; the format of Deep Compression takes "
            f"integers less than {MOST_SYMBOLS:,} apart: quantise to 12 bits or fewer"
        )
    return lowest + int(np.bincount(flat - lowest).argmax())


def _with_fillers(flat: np.ndarray, frequent: int, gap_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return gaps and integers of what is stored, both int64 (stored,)."""
    places = np.flatnonzero(flat != frequent)
    left_out = np.diff(places, prepend=-1) - 1
    fillers, rest = left_out >> gap_bits, left_out & (1 << gap_bits) - 1
    ends = np.cumsum(fillers + 1)
    size = int(ends[-1]) if len(ends) else 0
    gaps = np.full(size, (1 << gap_bits) - 1, dtype=np.int64)
    stored = np.full(size, frequent, dtype=np.int64)
    gaps[ends - 1], stored[ends - 1] = rest, flat[places]
    return gaps, stored
