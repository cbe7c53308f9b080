"""Huffman codes: a whole number of bits for each symbol, the frequent ones shorter.

    ==================== ==========================================================
    varint               number of symbols, 0 to that less one
    half a byte for each the length of its code, 0 where it does not occur
    varint               number of bytes that follow
    bytes                the codes one after the other, highest bit first
    ==================== ==========================================================

Codes of equal length are consecutive numbers in the order of their symbols, shorter ones first, so
that the lengths say it all (RFC 1951, section 3.2.2). They have 15 bits at most; a single
symbol's has one.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from automl_compress.compress.packing.byte_fields import ByteReader, varint
from automl_compress.core.errors import InvalidInput

MOST_SYMBOLS = 4096
_LONGEST = 15
_BYTES_AT_ONCE = 2**16


def huffman_bytes(symbols: np.ndarray) -> bytes:
    """Write int64 symbols (n,), from 0, with the codes that are shortest for them.

    Raises:
        InvalidInput: a symbol is above 4,095.
    """
    if symbols.size and int(symbols.max()) >= MOST_SYMBOLS:
        raise InvalidInput(
            f"a Huffman code of {int(symbols.max()) + 1:,} symbols is asked for; {MOST_SYMBOLS:,} "
            "at most can be written: quantise to 12 bits or fewer, or code by entropy"
        )
    lengths = _code_lengths(np.bincount(symbols))
    content = _written(symbols, lengths)
    nibbles = np.zeros(len(lengths) + len(lengths) % 2, dtype=np.uint8)
    nibbles[: len(lengths)] = lengths
    table = (nibbles[::2] << 4 | nibbles[1::2]).tobytes()
    return varint(len(lengths)) + table + varint(len(content)) + content


def read_huffman(reader: ByteReader, count: int) -> np.ndarray:
    """Read `count` symbols that `huffman_bytes` wrote, int64 (count,).

    Memory grows with what the reader holds, not with what it claims.

    Raises:
        DataInvalid: the content is truncated or damaged.
    """
    number = reader.varint()
    if number > MOST_SYMBOLS:
        raise reader.invalid(f"its Huffman code has {number:,} symbols")
    packed = np.frombuffer(reader.take(-(-number // 2)), dtype=np.uint8)
    lengths = np.stack([packed >> 4, packed & 15], 1).reshape(-1)[:number].astype(np.int64)
    content = reader.take(reader.varint())
    if count > 8 * len(content):
        raise reader.invalid(f"its {len(content):,} bytes of codes are too few for {count:,}")
    if not count:
        return np.zeros(0, dtype=np.int64)
    codes = _Codes.of(lengths)
    if codes is None:
        raise reader.invalid("the lengths of its Huffman codes do not add up")
    found = _decoded(content, codes, count)
    if found is None:
        raise reader.invalid("its Huffman codes do not end where they should")
    return found


@dataclass(frozen=True)
class _Codes:
    """What every window of 15 bits begins with: a symbol, and how many bits its code has."""

    symbols: np.ndarray
    widths: np.ndarray  # 0 where no code begins like this

    @classmethod
    def of(cls, lengths: np.ndarray) -> "_Codes | None":
        """Lay out the codes; None where they are too many for their lengths, or leave a gap."""
        order = _canonical(lengths)
        spans = 1 << (_LONGEST - lengths[order])
        missing = (1 << _LONGEST) - int(spans.sum())
        if missing and not (len(order) == 1 and lengths[order[0]] == 1):
            return None
        spans, symbols = np.append(spans, missing), np.append(order, 0)
        widths = np.append(lengths[order], 0)
        return cls(np.repeat(symbols, spans), np.repeat(widths, spans))


def _canonical(lengths: np.ndarray) -> np.ndarray:
    """Return the symbols that occur, by length and then by number."""
    order = np.argsort(lengths, kind="stable")
    return order[lengths[order] > 0]


def _code_lengths(counts: np.ndarray) -> np.ndarray:
    """Return the length of each symbol's code, int64; 0 where it does not occur."""
    lengths = _tree_depths(counts)
    while len(lengths) and int(lengths.max()) > _LONGEST:
        counts = -(-counts // 2)  # flatter, so that rare symbols stand less deep
        lengths = _tree_depths(counts)
    return lengths


def _tree_depths(counts: np.ndarray) -> np.ndarray:
    """Return how deep each symbol stands in the tree of Huffman (1952)."""
    depths = np.zeros(len(counts), dtype=np.int64)
    occurring = np.flatnonzero(counts)
    if len(occurring) == 1:
        depths[occurring] = 1
        return depths
    heap = [(int(counts[symbol]), int(symbol), [int(symbol)]) for symbol in occurring]
    heapq.heapify(heap)
    while len(heap) > 1:
        few, first, below = heapq.heappop(heap)
        more, second, beside = heapq.heappop(heap)
        joined = below + beside
        depths[joined] += 1
        heapq.heappush(heap, (few + more, min(first, second), joined))
    return depths


def _written(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    order = _canonical(lengths)
    codes = np.zeros(len(lengths), dtype=np.int64)
    starts = np.cumsum(1 << (_LONGEST - lengths[order])) - (1 << (_LONGEST - lengths[order]))
    codes[order] = starts >> (_LONGEST - lengths[order])
    widths = lengths[symbols]
    ends = np.cumsum(widths)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    for place in range(int(widths.max(initial=0))):  # from each code's last bit on
        has_bit = widths > place
        bits[ends[has_bit] - 1 - place] = codes[symbols[has_bit]] >> place & 1
    return np.packbits(bits).tobytes()


def _decoded(content: memoryview, codes: _Codes, count: int) -> np.ndarray | None:
    """Return the first `count` symbols; None unless they end in the last byte, zeros behind."""
    padded = np.frombuffer(bytes(content) + bytes(2), dtype=np.uint8).astype(np.int64)
    shifts = 9 - np.arange(8)
    found: list[int] = []
    place = 0
    for first in range(0, len(content), _BYTES_AT_ONCE):
        part = padded[first : first + _BYTES_AT_ONCE + 2]
        words = part[:-2] << 16 | part[1:-1] << 8 | part[2:]
        windows = (words[:, None] >> shifts & (1 << _LONGEST) - 1).reshape(-1)
        symbols, widths = codes.symbols[windows].tolist(), codes.widths[windows].tolist()
        start = 8 * first
        while place - start < len(symbols) and len(found) < count:
            width = widths[place - start]
            if not width:
                return None
            found.append(symbols[place - start])
            place += width
    left = 8 * len(content) - place
    is_padding = 0 <= left < 8 and not content[-1] & (1 << left) - 1
    return np.array(found, dtype=np.int64) if len(found) == count and is_padding else None
