"""The faithful format of Deep Compression: exact, near the bound of whole bits, safe to read."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from automl_compress.compress.packing.byte_fields import ByteReader, signed_varint, varint
from automl_compress.compress.packing.codec import (
    decode_integers,
    encode_integers,
    entropy_bytes,
)
from automl_compress.compress.packing.container import pack, unpack
from automl_compress.compress.packing.huffman import huffman_bytes, read_huffman
from automl_compress.compress.packing.relative import RELATIVE_LAYOUT, encode_relative
from automl_compress.compress.quantisers import QuantisedTensor, create_quantiser
from automl_compress.core.errors import DataInvalid, InvalidInput

quick = settings(max_examples=150, deadline=None, derandomize=True)
SHAPES = [(0,), (1,), (), (7,), (600,), (20, 50), (4, 3, 5, 5)]


@st.composite
def sparse_integers(draw: st.DrawFn) -> np.ndarray:
    """Mostly one integer, which is not always zero, with gaps of any length."""
    frequent = draw(st.integers(-3, 3))
    span = draw(st.sampled_from([0, 1, 15, 255, 4000]))
    shape = draw(st.sampled_from(SHAPES))
    others = st.integers(frequent - span // 2, frequent + span // 2)
    elements = st.one_of(st.just(frequent), st.just(frequent), others)
    fill = st.just(frequent)
    return draw(arrays.arrays("int32", shape, elements=elements, fill=fill))


@quick
@given(values=sparse_integers())
def test_decoding_gives_back_what_was_encoded(values: np.ndarray) -> None:
    content = encode_relative(values)

    assert content[0] == RELATIVE_LAYOUT
    assert np.array_equal(decode_integers(content, values.size), values.reshape(-1))


@pytest.mark.parametrize("left_out", [0, 30, 31, 32, 33, 63, 64, 65, 255, 256, 257, 5000])
@pytest.mark.parametrize("shape", [(1, -1), (1, 1, -1)])
def test_gaps_beyond_their_field_get_fillers(left_out: int, shape: tuple[int, ...]) -> None:
    values = np.zeros(left_out + 3, dtype=np.int64).reshape(shape)
    values[..., left_out] = 5

    found = decode_integers(encode_relative(values), values.size)

    assert np.array_equal(found, values.reshape(-1))


def test_a_filler_is_stored_for_each_32_zeros_of_a_matrix() -> None:
    few, many = np.zeros((2, 1, 100), dtype=np.int64)
    few[0, 0], many[0, 70] = 1, 1

    stored = [encode_relative(each)[3] for each in (few, many)]  # behind layout, zero and gap bits

    assert stored == [1, 3]


# Probabilities 1/2, 1/4, 1/8, 1/8: codes of 1, 2, 3 and 3 bits, so 14 bits for these eight.
def test_huffman_code_by_hand() -> None:
    content = huffman_bytes(np.array([0, 0, 0, 0, 1, 1, 2, 3]))

    assert content == bytes([4, 0x12, 0x33, 2]) + bytes([0b0000_1010, 0b110_111_00])


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_huffman_code_is_within_a_bit_of_the_entropy(bits: int, rng: np.random.Generator) -> None:
    normal = rng.normal(size=20_000) * 2**bits / 8
    symbols = np.clip(normal.round() + 2 ** (bits - 1), 0, 2**bits - 1).astype(np.int64)

    size = len(huffman_bytes(symbols))

    assert entropy_bytes(symbols) <= size <= entropy_bytes(symbols) + 20_000 / 8 + 2**bits / 2 + 4


def test_codes_of_very_rare_symbols_stay_within_15_bits() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 24:  # the counts whose tree is deepest
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    symbols = np.repeat(np.arange(24), fibonacci)

    content = huffman_bytes(symbols)

    assert np.array_equal(read_huffman(ByteReader(content, "it"), symbols.size), symbols)


def pruned_codes(sparsity: float, bits: int) -> QuantisedTensor:
    weights = torch.from_numpy(np.random.default_rng(0).laplace(size=(300, 200)))
    weights[weights.abs() < torch.quantile(weights.abs().reshape(-1), sparsity)] = 0
    return create_quantiser("kmeans").fit(weights, bits)


@pytest.mark.parametrize(("sparsity", "bits"), [(0.5, 4), (0.8, 4), (0.95, 3)])
def test_coding_by_entropy_is_smaller(sparsity: float, bits: int) -> None:
    codes = pruned_codes(sparsity, bits).codes.numpy()

    assert len(encode_integers(codes)) < len(encode_relative(codes))


def test_a_container_in_this_format_is_read_like_any_other() -> None:
    weight, bias = pruned_codes(0.9, 4), torch.tensor([0.0, 0.0, 1.5])

    faithful = pack({"weight": weight, "bias": bias}, encode=encode_relative)

    found = unpack(faithful)
    assert torch.equal(found.state_dict()["weight"], weight.dequantise())
    assert torch.equal(found.state_dict()["bias"], bias)
    assert found.sizes["weight"].code_bytes == len(encode_relative(weight.codes.numpy()))


# ------------------------------------------------------------------------- hostile bytes


def test_truncations_and_flipped_bits_never_crash(rng: np.random.Generator) -> None:
    codes = pruned_codes(0.9, 4).codes.numpy()[:20]
    content = encode_relative(codes)
    for size in range(len(content)):
        with pytest.raises(DataInvalid):
            decode_integers(content[:size], codes.size)
    for _ in range(1500):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] ^= 1 << int(rng.integers(8))
        with suppress(DataInvalid):
            assert decode_integers(bytes(damaged), codes.size).shape == (codes.size,)


HEAD = bytes([RELATIVE_LAYOUT]) + signed_varint(0) + bytes([5])
NOTHING = varint(0) * 2
ONE = huffman_bytes(np.zeros(1, dtype=np.int64))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + varint(2**40) + signed_varint(0), "stores"),
        (HEAD[:2] + bytes([60]) + varint(1) + signed_varint(0), "stores"),
        (HEAD + varint(1) + signed_varint(2**61) + ONE * 2, "stores"),
        (HEAD + varint(1) + signed_varint(1) + varint(2**30), "symbols"),
        (HEAD + varint(9) + signed_varint(1) + ONE * 2, "too few"),
        (HEAD + varint(1) + signed_varint(1) + varint(2) + b"\x22\1\0", "add up"),  # a gap
        (HEAD + varint(1) + signed_varint(1) + varint(3) + b"\x11\x10\1\0", "add up"),  # too many
        (HEAD + varint(1) + signed_varint(1) + varint(2) + b"\x11\1\1", "end"),  # 1 bit behind
        (HEAD + varint(1) + signed_varint(1) + varint(1) + b"\x10\1\x80", "end"),  # no such code
        (HEAD + varint(1) + signed_varint(1) + huffman_bytes(np.array([31] * 1)), "cut off"),
        (HEAD + varint(1) + signed_varint(1) + huffman_bytes(np.array([32])) + ONE, "beyond"),
        (HEAD + varint(1) + signed_varint(1) + huffman_bytes(np.array([20])) + ONE, "beyond"),
        (HEAD + varint(0) + signed_varint(1) + NOTHING * 2 + b"x", "belong to nothing"),
    ],
)
def test_doctored_content_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        decode_integers(content, 10)


@pytest.mark.parametrize(
    "values", [np.array([0.5]), np.array([0, 4096]), np.array([2**61]), np.array([True])]
)
def test_what_the_format_cannot_hold_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        encode_relative(values)
