"""Coded integers: exact, at the entropy bound, and safe to read."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from automl_compress.compress.packing.byte_fields import ByteReader, signed_varint, varint
from automl_compress.compress.packing.codec import (
    coded_size,
    decode_integers,
    encode_integers,
    entropy_bytes,
)
from automl_compress.compress.quantisers import create_quantiser
from automl_compress.core.errors import DataInvalid, InvalidInput

quick = settings(max_examples=150, deadline=None, derandomize=True)


@st.composite
def integer_arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(["int8", "uint8", "int16", "int32", "int64"]))
    lowest = draw(st.integers(-100, 100)) if dtype not in ("int8", "uint8") else 0
    span = draw(st.sampled_from([0, 1, 2, 15, 100, 1000, 30_000, 2**31]))
    limits = np.iinfo(dtype)
    highest = min(lowest + span, int(limits.max))
    shape = draw(st.sampled_from([(0,), (1,), (7,), (300,), (4, 3, 3, 3), ()]))
    return draw(arrays.arrays(dtype, shape, elements=st.integers(lowest, highest)))


@quick
@given(values=integer_arrays())
def test_decoding_gives_back_what_was_encoded(values: np.ndarray) -> None:
    content = encode_integers(values)

    assert np.array_equal(decode_integers(content, values.size), values.reshape(-1))


@pytest.mark.parametrize("span_bits", [1, 8, 12, 13, 16, 20, 31])
def test_long_arrays_come_back(span_bits: int, rng: np.random.Generator) -> None:
    values = rng.integers(-(2 ** (span_bits - 1)), 2 ** (span_bits - 1), 20_000)

    content = encode_integers(values)

    assert np.array_equal(decode_integers(content, 20_000), values)
    assert len(content) <= 20_000 * span_bits / 8 + 30  # evenly spread: nothing can be saved


@pytest.mark.parametrize("value", [0, -7, 2**40])
def test_a_constant_array_takes_a_few_bytes(value: int) -> None:
    content = encode_integers(np.full(1_000_000, value))

    assert len(content) < 12
    assert decode_integers(content, 1_000_000).tolist() == [value] * 1_000_000


def weights(name: str, entries: int, rng: np.random.Generator) -> torch.Tensor:
    """Normal, Laplace, or Laplace with this share of zeros, which is how pruned layers look."""
    if name == "normal":
        return torch.from_numpy(rng.normal(size=entries))
    found = rng.laplace(size=entries)
    sparsity = float(name)
    found[np.abs(found) < np.quantile(np.abs(found), sparsity)] = 0
    return torch.from_numpy(found)


# Of pruned layers at 8 bits a coarser table is taken, which is shorter by more than the symbols
# grow: see the next test for both together.
@pytest.mark.parametrize(
    ("source", "bits"),
    [(s, b) for s in ("normal", "0.0", "0.5", "0.8", "0.92") for b in (2, 3, 4, 6)]
    + [("normal", 8), ("0.0", 8)],
)
def test_payload_is_within_one_percent_of_the_entropy(
    source: str, bits: int, rng: np.random.Generator
) -> None:
    codes = create_quantiser("uniform").fit(weights(source, 12_000, rng), bits).codes.numpy()

    size, bound = coded_size(codes), entropy_bytes(codes)

    assert bound * 0.999 <= size.payload_bytes + size.table_bytes
    assert size.payload_bytes <= 1.01 * bound + 4


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("source", ["normal", "0.8", "0.92"])
def test_with_tables_it_is_within_three_percent(
    source: str, bits: int, rng: np.random.Generator
) -> None:
    codes = create_quantiser("uniform").fit(weights(source, 30_000, rng), bits).codes.numpy()

    assert len(encode_integers(codes)) <= 1.03 * entropy_bytes(codes)


def test_codebook_indices_are_coded_alike(rng: np.random.Generator) -> None:
    codes = create_quantiser("kmeans").fit(weights("0.9", 30_000, rng), 5).codes.numpy()

    assert len(encode_integers(codes)) <= 1.03 * entropy_bytes(codes)


def test_a_million_integers_are_coded_at_the_bound(rng: np.random.Generator) -> None:
    codes = create_quantiser("max").fit(weights("0.8", 1_000_000, rng), 8).codes.numpy()

    assert len(encode_integers(codes)) <= 1.005 * entropy_bytes(codes)


def test_small_arrays_pay_no_more_than_plain_bits(rng: np.random.Generator) -> None:
    for count in (1, 5, 20, 100):
        codes = rng.integers(0, 256, count)
        assert len(encode_integers(codes)) <= count + 8


def test_the_words_of_version_one_are_read_for_ever() -> None:
    # A coder that writes or reads other words makes stored networks unreadable.
    content = bytes.fromhex(GOLDEN)

    values = [0, 0, 0, -1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0] * 16

    assert decode_integers(content, 256).tolist() == values
    assert encode_integers(np.array(values)) == content


GOLDEN = "000100040a40800700004088472df82bef4362addf03615ce70e445f0f2183e0ff987f01000000"


# ------------------------------------------------------------------------- hostile bytes


def content_with_a_mask(rng: np.random.Generator) -> tuple[bytes, int]:
    codes = create_quantiser("uniform").fit(weights("0.92", 3000, rng), 8).codes.numpy()
    content = encode_integers(codes)
    assert content[0] == 1  # the layout with a mask
    return content, codes.size


def content_of(rng: np.random.Generator) -> tuple[bytes, int]:
    codes = np.clip(rng.laplace(scale=1.5, size=500).round(), -8, 8).astype(int)
    return encode_integers(codes), codes.size


def test_every_truncation_is_refused(rng: np.random.Generator) -> None:
    content, count = content_of(rng)

    for size in range(len(content)):
        # The stack of words has no end mark: with a few words gone it decodes to other
        # integers, or runs empty. The container's checksum tells; here nothing may crash.
        try:
            found = decode_integers(content[:size], count)
        except DataInvalid:
            continue
        assert found.shape == (count,)


@pytest.mark.parametrize("make", [content_of, content_with_a_mask])
def test_random_bytes_and_flipped_bits_never_crash(
    make: Callable[[np.random.Generator], tuple[bytes, int]], rng: np.random.Generator
) -> None:
    content, count = make(rng)
    for _ in range(1500):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] ^= 1 << int(rng.integers(8))
        if rng.random() < 0.3:
            damaged = bytearray(rng.bytes(int(rng.integers(0, 60))))
        with suppress(DataInvalid):
            assert decode_integers(bytes(damaged), count).shape == (count,)


@pytest.mark.parametrize(
    "content",
    [
        b"\0" + signed_varint(0) + bytes([40]) + varint(1),  # 40 low bits
        b"\0" + signed_varint(0) + bytes([0]) + varint(0),  # no symbol
        b"\0" + signed_varint(0) + bytes([0]) + varint(2**40),  # a table of a trillion entries
        b"\0" + signed_varint(2**61 + 5) + bytes([0]) + varint(1),
        b"\0"
        + signed_varint(0)
        + bytes([0])
        + varint(2)
        + bytes([10, 0])
        + varint(2**40),  # long run
        b"\0" + signed_varint(0) + bytes([0]) + varint(2) + bytes([10]) + varint(512) * 2 + b"abc",
        b"\0" + signed_varint(0) + bytes([0]) + varint(2) + bytes([10]) + varint(2**62) * 2,
        b"\0" + signed_varint(0) + bytes([0]) + varint(2) + bytes([63]) + varint(2**62) * 2,
        b"\0" + signed_varint(0) + bytes([0]) + varint(1) + b"more",
        b"\xff" * 20,
        b"\1" + signed_varint(0) + varint(2**50),  # a mask longer than the content
        b"\1" + signed_varint(0) + varint(3) + signed_varint(5) + bytes([0, 1]),  # of fives
    ],
)
def test_doctored_tables_are_refused(content: bytes) -> None:
    with pytest.raises(DataInvalid, match=r"damaged|cut off"):
        decode_integers(content, 100)


@pytest.mark.parametrize(
    "values", [np.array([0.5]), np.array(["a"]), np.array([0, 2**32]), np.array([True])]
)
def test_what_is_no_small_integer_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        encode_integers(values)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**40, 2**61, -1, -128, -(2**40)])
def test_varints_come_back(value: int) -> None:
    assert ByteReader(signed_varint(value), "it").signed_varint() == value
    if value >= 0:
        assert ByteReader(varint(value), "it").varint() == value
