"""The symbols' shares of a coded array: whole numbers whose sum is a power of two."""

import numpy as np

from automl_compress.compress.packing.byte_fields import ByteReader, varint

PRECISIONS = (10, 12, 14, 16)


def scaled_counts(counts: np.ndarray, precision: int) -> np.ndarray | None:
    """Scale counts to the sum 2^precision with at least 1 for each that occurs; None: no room."""
    total, occurring = 1 << precision, counts > 0
    if 2 * int(occurring.sum()) > total:
        return None
    scaled = np.maximum(np.rint(counts * (total / counts.sum())).astype(np.int64), occurring)
    # What rounding leaves over goes to or comes from the largest, where it changes least.
    while (difference := total - int(scaled.sum())) != 0:
        largest = int(scaled.argmax())
        scaled[largest] += max(difference, -(int(scaled[largest]) // 2))
    return scaled


def frequency_bytes(frequencies: np.ndarray) -> bytes:
    """Write shares (symbols,) whose sum is a power of two, as `packing.codec` describes."""
    found = [bytes([int(frequencies.sum()).bit_length() - 1])]
    place = 0
    while place < len(frequencies):
        found.append(varint(int(frequencies[place])))
        place += 1
        if frequencies[place - 1] == 0:
            occurring = np.flatnonzero(frequencies[place:])
            more = int(occurring[0]) if len(occurring) else len(frequencies) - place
            found.append(varint(more))
            place += more
    return b"".join(found)


def read_frequencies(reader: ByteReader, symbols: int) -> np.ndarray:
    """Read what `frequency_bytes` wrote; raises DataInvalid where it cannot be."""
    precision = reader.byte()
    found: list[int] = []
    while len(found) < symbols:
        found.append(reader.varint())
        if found[-1] == 0:
            more = reader.varint()
            if more > symbols - len(found):
                raise reader.invalid("its table has more entries than symbols")
            found += [0] * more
    if precision not in PRECISIONS or sum(found) != 1 << precision:
        raise reader.invalid("the frequencies in its table do not add up")
    return np.array(found, dtype=np.int64)
