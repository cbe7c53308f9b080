"""Integers at their entropy: asymmetric numeral systems with one table for each array.

A coded array begins with a byte: 0 for one table, as follows, 1 for a split, below, or 2 for the
relative indices of `packing.relative`, which are only read here.

    ======================== ==========================================================
    signed varint            its smallest integer; the others are offsets from it
    byte                     r, how many low bits of each offset stand uncoded
    varint                   number of symbols; a symbol is what remains of an offset
    byte, frequencies        precision p, then the symbols' shares, whole numbers with the
                             sum 2^p, as varints; a zero is followed by how many more follow
    ceil(n * r / 8) bytes    the low bits of all offsets, packed, lowest bit first
    32-bit words             the coder's output, little endian
    ======================== ==========================================================

With one symbol there are no frequencies and no words. The decoder must be told the number of
integers. Zeros are ordinary symbols, and as cheap as they are frequent.

A split array is the signed varint of its most frequent integer, the varint size of a coded mask
(1 where another integer stands), the mask, and those others as a coded array; neither is split
again. In pruned layers with many bits this saves most of the table, since the others can leave
low bits uncoded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from automl_compress.compress.packing.byte_fields import ByteReader, signed_varint, varint
from automl_compress.compress.packing.frequencies import (
    PRECISIONS,
    frequency_bytes,
    read_frequencies,
    scaled_counts,
)
from automl_compress.compress.packing.relative import RELATIVE_LAYOUT, decode_relative
from automl_compress.core.errors import InvalidInput

_MOST_SYMBOLS = 4096
_LARGEST_SPAN_BITS = 32
_FARTHEST = 2**60  # from zero
_ONE_TABLE, _SPLIT = 0, 1  # layouts
_WORTH_SPLITTING = 32  # bytes of a table
_MOST_COUNTED = 2**20
_PART = 2**20
_CODER_BYTES = 6  # what the coder's state adds on average


@dataclass(frozen=True, slots=True)
class CodedSize:
    """Bytes of a coded array: of what describes its symbols, and of the symbols."""

    table_bytes: int
    payload_bytes: int


def encode_integers(values: np.ndarray) -> bytes:
    """Write an array of integers, in as few bytes as a fixed probability for each allows.

    Args:
        values: integers of any type and shape, less than 2^32 apart.

    Raises:
        InvalidInput: the values are no integers or too far apart, or the coder's package is
            missing.
    """
    return b"".join(_smallest(values))


def coded_size(values: np.ndarray) -> CodedSize:
    """Return how many bytes `encode_integers` would write; the same errors."""
    head, mask, table, symbols = map(len, _smallest(values))
    return CodedSize(head + table, mask + symbols)


def decode_integers(content: bytes | memoryview, count: int) -> np.ndarray:
    """Read what `encode_integers` or `encode_relative` wrote, as int64 (count,).

    Memory grows with `count`, which the caller bounds, and not with what the content claims.

    Raises:
        DataInvalid: the content is truncated or damaged.
        InvalidInput: the coder's package is missing.
    """
    reader = ByteReader(content, "a coded array")
    layout = reader.byte()
    if layout == _ONE_TABLE:
        return _decoded(reader, count)
    if layout == RELATIVE_LAYOUT:
        return decode_relative(reader, count)
    if layout != _SPLIT:
        raise reader.invalid(f"its layout is {layout}")
    frequent = _read_lowest(reader)
    mask = _decoded(ByteReader(reader.take(reader.varint()), "a coded mask"), count)
    if count and not 0 <= int(mask.min()) <= int(mask.max()) <= 1:
        raise reader.invalid("its mask holds other numbers than 0 and 1")
    is_other = mask.astype(bool)
    found = np.full(count, frequent, dtype=np.int64)
    found[is_other] = _decoded(reader, int(is_other.sum()))
    return found


def entropy_bytes(values: np.ndarray) -> float:
    """Return the zero-order entropy of all values together, in bytes: the bound for any table."""
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts * np.log2(counts / max(values.size, 1))).sum() / 8)


_Pieces = tuple[bytes, bytes, bytes, bytes]  # head, mask, table, symbols


def _smallest(values: np.ndarray) -> _Pieces:
    """Write in both layouts and return the shorter one."""
    offsets, lowest = _offsets(values)
    table, payload = _encoded(offsets, lowest)
    whole = bytes([_ONE_TABLE]), b"", table, payload
    # Only a table that weighs something can become so much smaller.
    if len(table) <= _WORTH_SPLITTING or int(offsets.max()) >= _MOST_COUNTED:
        return whole
    split = _split(offsets, lowest)
    return min(whole, split, key=lambda pieces: sum(map(len, pieces)))


def _split(offsets: np.ndarray, lowest: int) -> _Pieces:
    frequent = int(np.bincount(offsets).argmax())
    is_other = offsets != frequent
    mask = b"".join(_encoded(is_other.astype(np.int64), 0))
    others = offsets[is_other]
    first = int(others.min())
    head = bytes([_SPLIT]) + signed_varint(lowest + frequent) + varint(len(mask))
    return head, mask, *_encoded(others - first, lowest + first)


def _offsets(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return int64 (n,) from 0 up, and what was subtracted."""
    if values.dtype.kind not in "iu":
        raise InvalidInput(f"values are of type {values.dtype}; only integers can be coded")
    if not values.size:
        return np.zeros(0, dtype=np.int64), 0
    lowest, highest = int(values.min()), int(values.max())
    if highest - lowest >= 2**_LARGEST_SPAN_BITS or abs(lowest) > _FARTHEST:
        raise InvalidInput(
            f"values run from {lowest:,} to {highest:,}; give integers less than 2^32 apart"
        )
    return values.reshape(-1).astype(np.int64) - lowest, lowest


def _encoded(offsets: np.ndarray, lowest: int) -> tuple[bytes, bytes]:
    if not offsets.size:
        return signed_varint(lowest) + bytes([0]) + varint(1), b""
    raw_bits, frequencies = _cheapest_split(offsets)
    table = signed_varint(lowest) + bytes([raw_bits]) + varint(len(frequencies))
    payload = _packed(offsets & ((1 << raw_bits) - 1), raw_bits)
    if len(frequencies) > 1:
        table += frequency_bytes(frequencies)
        payload += _written_symbols(offsets >> raw_bits, frequencies)
    return table, payload


def _read_lowest(reader: ByteReader) -> int:
    lowest = reader.signed_varint()
    if abs(lowest) > 2 * _FARTHEST:
        raise reader.invalid("its integers are out of range")
    return lowest


def _decoded(reader: ByteReader, count: int) -> np.ndarray:
    lowest, raw_bits, symbols = _read_lowest(reader), reader.byte(), reader.varint()
    if raw_bits > _LARGEST_SPAN_BITS or not 1 <= symbols <= _MOST_SYMBOLS:
        raise reader.invalid(f"it has {symbols:,} symbols and {raw_bits} low bits")
    frequencies = read_frequencies(reader, symbols) if symbols > 1 else None
    low_bits = reader.take(-(-count * raw_bits // 8))
    if frequencies is None:
        found = np.zeros(count, dtype=np.int64)
    else:
        found = _read_symbols(reader, frequencies, count)
    reader.end()
    # In place: of a network's entries there may be many.
    found <<= raw_bits
    if raw_bits:
        found |= _unpacked(low_bits, raw_bits, count)
    found += lowest
    return found


def _cheapest_split(offsets: np.ndarray) -> tuple[int, np.ndarray]:
    """Choose how many low bits to leave uncoded, and the frequencies of the rest.

    Where an alphabet is as large as the array is long, a table costs more than it saves.
    """
    span_bits = int(offsets.max()).bit_length()
    least = max(0, span_bits - _MOST_SYMBOLS.bit_length() + 1)
    cheapest = (np.inf, 0, np.ones(1, dtype=np.int64))
    for raw_bits in range(least, span_bits + 1):
        counts = np.bincount(offsets >> raw_bits)
        for precision in PRECISIONS if len(counts) > 1 else ():
            frequencies = scaled_counts(counts, precision)
            if frequencies is not None:
                size = _estimated_bytes(counts, frequencies) + len(offsets) * raw_bits / 8
                cheapest = min(cheapest, (size, raw_bits, frequencies), key=lambda each: each[0])
        if len(counts) == 1:
            size = len(offsets) * raw_bits / 8
            cheapest = min(cheapest, (size, raw_bits, counts), key=lambda each: each[0])
    return cheapest[1], cheapest[2]


def _estimated_bytes(counts: np.ndarray, frequencies: np.ndarray) -> float:
    some = counts > 0
    bits = -(counts[some] * np.log2(frequencies[some] / frequencies.sum())).sum()
    return float(bits / 8) + len(frequency_bytes(frequencies)) + _CODER_BYTES


def _written_symbols(symbols: np.ndarray, frequencies: np.ndarray) -> bytes:
    coder = _constriction().stream.stack.AnsCoder()
    coder.encode_reverse(symbols.astype(np.int32), _model(frequencies))
    return coder.get_compressed().astype("<u4").tobytes()


def _read_symbols(reader: ByteReader, frequencies: np.ndarray, count: int) -> np.ndarray:
    content = reader.take(reader.left)
    if len(content) % 4:
        raise reader.invalid("it does not end with a whole word")
    words = np.frombuffer(content, dtype="<u4").astype(np.uint32)
    try:
        coder = _constriction().stream.stack.AnsCoder(words)
        found = coder.decode(_model(frequencies), count)
    except ValueError as error:
        raise reader.invalid("its words are not what a coder writes") from error
    # Zeros may decode from nothing, but nothing may remain; and no symbol without a share occurs.
    absent = np.flatnonzero(frequencies == 0)
    if not coder.is_empty() or (len(absent) and _occurs(found, absent)):
        raise reader.invalid("its words belong to another table")
    return found.astype(np.int64)


def _occurs(symbols: np.ndarray, wanted: np.ndarray) -> bool:
    parts = (symbols[start : start + _PART] for start in range(0, len(symbols), _PART))
    return any(bool(np.isin(part, wanted).any()) for part in parts)


def _model(frequencies: np.ndarray) -> Any:
    # Shares are multiples of 2^-16 at least, so float32 holds them exactly everywhere.
    shares = (frequencies / frequencies.sum()).astype(np.float32)
    return _constriction().stream.model.Categorical(shares, perfect=False)


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise InvalidInput(
            "packing networks needs the package constriction, which cannot be imported "
            f"({error}); install it with: pip install 'automl-compress[search]'"
        ) from error
    return constriction


def _packed(values: np.ndarray, bits: int) -> bytes:
    if not bits:
        return b""
    planes = (values[:, None] >> np.arange(bits)) & 1
    return np.packbits(planes.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def _unpacked(content: memoryview, bits: int, count: int) -> np.ndarray:
    flags = np.unpackbits(
        np.frombuffer(content, dtype=np.uint8), count=count * bits, bitorder="little"
    ).reshape(count, bits)
    found = np.zeros(count, dtype=np.int64)
    for place in range(bits):
        found |= flags[:, place].astype(np.int64) << place
    return found
