"""Packed networks: exact, as small as they say, and safe to open."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from automl_compress.compress.packing.byte_fields import text, varint
from automl_compress.compress.packing.codec import encode_integers, entropy_bytes
from automl_compress.compress.packing.container import pack, unpack
from automl_compress.compress.quantisers import (
    Grid,
    QuantisedTensor,
    create_quantiser,
    quantiser_names,
)
from automl_compress.core.errors import DataInvalid, InvalidInput
from tests.automl_compress.compress.packing.containers import (
    PackedTensor,
    directory_of,
    same,
    signed,
    small_container,
    with_directory,
)
from tests.automl_compress.networks import zoo


@st.composite
def quantised_weights(draw: st.DrawFn) -> QuantisedTensor:
    """Any quantiser, shape, bit-width and sparsity."""
    quantiser = create_quantiser(draw(st.sampled_from(quantiser_names())))
    shape = draw(st.sampled_from([(1,), (5,), (300,), (4, 3, 3, 3), (2, 8), (10, 1, 5, 5)]))
    axis = draw(st.sampled_from([None, 0, len(shape) - 1]))
    tensor = torch.from_numpy(
        np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=shape)
    ).float()
    tensor[tensor.abs() < draw(st.sampled_from([0.0, 0.7, 1.6, 9.0]))] = 0
    entries = tensor.numel() if axis is None else tensor.numel() // tensor.shape[axis]
    fitting = [b for b in quantiser.bit_widths if quantiser.name != "kmeans" or 2**b <= entries]
    if not fitting:
        quantiser, fitting = create_quantiser("max"), [4]
    return quantiser.fit(tensor, draw(st.sampled_from(fitting)), axis)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(tensors=st.lists(quantised_weights(), max_size=3))
def test_quantised_tensors_come_back_exactly(tensors: list[QuantisedTensor]) -> None:
    named = {f"layer{place}.weight": each for place, each in enumerate(tensors)}

    found = unpack(pack(named))

    assert list(found.tensors) == list(named)
    assert all(same(found.tensors[name], named[name]) for name in named)
    state = found.state_dict()
    assert all(torch.equal(state[name], named[name].dequantise()) for name in named)


DRAWN = torch.Generator().manual_seed(0)  # at collection: every worker must see the same


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4, generator=DRAWN),
        torch.randn(7, generator=DRAWN).half(),
        torch.randn(7, generator=DRAWN).bfloat16(),
        torch.randn(2, 2, generator=DRAWN).double(),
        torch.tensor(5),
        torch.arange(-3, 9).int(),
        torch.arange(9).to(torch.int16),
        torch.tensor([-128, 0, 127], dtype=torch.int8),
        torch.arange(200, dtype=torch.uint8),
        torch.tensor([True, False, True]),
        torch.zeros(0, 4),
        torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1e-45]),
        torch.randn(6, 4, generator=DRAWN).T,
    ],
    ids=lambda tensor: f"{tensor.dtype}-{list(tensor.shape)}",
)
def test_plain_tensors_come_back_bit_for_bit(tensor: Tensor) -> None:
    found = unpack(pack({"it": tensor})).tensors["it"]

    assert same(found, tensor.contiguous())


def test_sparse_float_tensors_are_stored_as_mask_and_values(rng: np.random.Generator) -> None:
    tensor = torch.from_numpy(rng.normal(size=(100, 100)).astype(np.float32))
    tensor[tensor.abs() < 1.6] = 0  # 89 % of normal entries
    tensor[0, 0] = -0.0  # not a zero to the file: its sign would be lost

    packed = pack({"it": tensor})

    found = unpack(packed)
    stored = int((tensor.view(torch.int32) != 0).sum())
    mask = entropy_bytes((tensor.view(torch.int32) != 0).numpy().astype(np.uint8))
    assert same(found.tensors["it"], tensor)
    assert found.sizes["it"].kind == "sparse"
    assert len(packed) < 4 * stored + 1.02 * mask + 100


def test_metadata_come_along_in_order() -> None:
    metadata = {"policy": '{"groups": []}', "name": "ResNet-20 — ½"}

    assert list(unpack(pack({}, metadata)).metadata.items()) == list(metadata.items())


def packed_network(bits: int) -> tuple[dict[str, PackedTensor], bytes]:
    """ResNet-20 with every weight of a convolution or linear layer at `bits`."""
    network = zoo.traced("resnet-20")
    quantiser = create_quantiser("uniform")
    multiplied = {layer.weight for layer in network.graph.layers if layer.kind != "other"}
    tensors: dict[str, PackedTensor] = {
        name: quantiser.fit(tensor, bits, 0) if name in multiplied else tensor
        for name, tensor in network.module.state_dict().items()
    }
    return tensors, pack(tensors)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_network_takes_its_entropy_and_little_more(bits: int) -> None:
    tensors, packed = packed_network(bits)

    bound = 0.0
    for each in tensors.values():
        if isinstance(each, QuantisedTensor):
            bound += entropy_bytes(each.codes.numpy()) + 4 * each.grid.values.numel()
        else:
            bound += each.numel() * each.element_size()
    assert bound < len(packed) < 1.02 * bound + 1200  # 116 names, shapes and kinds


def test_reported_sizes_are_what_the_file_has() -> None:
    _, packed = packed_network(4)

    found = unpack(packed)

    sections = sum(each.value_bytes + each.code_bytes for each in found.sizes.values())
    _, directory_size = directory_of(packed)
    assert found.size_bytes == len(packed)
    assert sections + directory_size == len(packed)


def test_the_same_tensors_give_the_same_file() -> None:
    assert packed_network(4)[1] == packed_network(4)[1]


# ------------------------------------------------------------------------- hostile bytes


def test_every_truncation_is_refused() -> None:
    packed = small_container()

    for size in range(len(packed)):
        with pytest.raises(DataInvalid):
            unpack(packed[:size])


def test_every_flipped_bit_is_refused() -> None:
    packed = bytearray(small_container())

    for place in range(len(packed)):
        packed[place] ^= 1 << place % 8
        with pytest.raises(DataInvalid):
            unpack(bytes(packed))
        packed[place] ^= 1 << place % 8


def test_trailing_bytes_are_refused() -> None:
    packed = small_container()

    with pytest.raises(DataInvalid, match="checksum"):
        unpack(packed + b"x")
    with pytest.raises(DataInvalid, match="belong to nothing"):
        unpack(signed(packed[41:] + b"x"))


def entry(name: str, kind: int, shape: tuple[int, ...], *fields: int) -> bytes:
    numbers = b"".join(map(varint, shape)) + b"".join(map(varint, fields))
    return text(name) + bytes([kind]) + varint(len(shape)) + numbers


def one(name: str, kind: int, shape: tuple[int, ...], *fields: int) -> bytes:
    return varint(0) + varint(1) + entry(name, kind, shape, *fields)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


CODES = encode_integers(np.array([0, 1, 7, -7]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut off"),
        (b"PK\x03\x04" + bytes(60), "no packed network"),
        (b"AMLCPACK\x02" + bytes(60), "version 2"),
        (with_directory(one("a", 0, (2**40,), 0)), "more than"),
        (with_directory(one("a", 0, (0, 2**40), 0)), "more than"),
        (with_directory(one("a", 0, (2**31, 2**31, 2**31), 0)), "more than"),
        (with_directory(one("a", 0, (1,) * 9, 0)), "9 axes"),
        (with_directory(one("a", 3, (1,), 0)), "no kind"),
        (with_directory(one("a", 0, (1,), 99)), "unknown type"),
        (with_directory(one("a", 0, (100,), 0), b"abc"), "cut off"),
        (with_directory(one("a", 0, (1,), 9), b"\x02"), "neither true nor false"),
        (with_directory(varint(0) + varint(2) + entry("a", 0, (0,), 0) * 2), "twice"),
        (with_directory(varint(2**40)), "announces"),
        (with_directory(varint(0) + varint(2**40)), "announces"),
        (with_directory(varint(1) + varint(1) + b"\xff\xff\xff"), "not UTF-8"),
        (with_directory(varint(0) * 2, size=2**40), "said to take"),
        (with_directory(varint(0) * 2 + bytes(10**6), size=2), "another size"),
        (with_directory(varint(0) * 2, size=50), "another size"),
        (signed(varint(4) + varint(4) + b"abcd"), "inflated"),
        # grids: unknown form, 0 and 40 bits, an axis too many, another number of channels
        (with_directory(one("a", 2, (4,), 9, 4, 0, 1, 1, 9)), "does not belong"),
        (with_directory(one("a", 2, (4,), 0, 0, 0, 1, 1, 9)), "does not belong"),
        (with_directory(one("a", 2, (4,), 3, 40, 0, 1, 1, 9)), "does not belong"),
        (with_directory(one("a", 2, (4,), 0, 4, 2, 1, 4, 9)), "does not belong"),
        (with_directory(one("a", 2, (4,), 0, 4, 1, 1, 2**40, 9)), "does not belong"),
        (
            with_directory(one("a", 2, (4,), 0, 3, 0, 1, 1, len(CODES)), floats(1) + CODES),
            "out of the range",
        ),
        (
            with_directory(
                one("a", 2, (4,), 0, 4, 0, 1, 1, len(CODES)), floats(float("nan")) + CODES
            ),
            "NaN",
        ),
        (with_directory(one("a", 1, (4,), 0, len(CODES)), CODES), "mask"),
    ],
)
def test_doctored_containers_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        unpack(content)


@pytest.mark.parametrize(
    "make",
    [
        # 64 MiB of zeros deflate to 64 KiB; a constant array of any length is four bytes.
        lambda: signed(varint(len(z := zlib.compress(bytes(2**26), 9))) + varint(2**20) + z),
        lambda: with_directory(
            one("a", 2, (2**40,), 0, 4, 0, 1, 1, 4), floats(1) + encode_integers(np.zeros(1, int))
        ),
        lambda: with_directory(one("a", 2, (4,), 3, 16, 0, 1, 1, 4), floats(1)),
    ],
    ids=["deflated zeros", "a trillion zeros", "a codebook that is not there"],
)
def test_memory_stays_bounded_whatever_a_container_says(make: Callable[[], bytes]) -> None:
    content = make()
    tracemalloc.start()

    with pytest.raises(DataInvalid):
        unpack(content)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_the_limit_on_entries_can_be_raised_and_lowered() -> None:
    packed = pack({"it": torch.zeros(1000)})

    assert unpack(packed, largest_entries=1000).tensors["it"].shape == (1000,)
    with pytest.raises(DataInvalid, match="more than 999 entries"):
        unpack(packed, largest_entries=999)


# ----------------------------------------------------------------------------- bad input


def test_tensors_that_cannot_be_stored_are_refused() -> None:
    with pytest.raises(InvalidInput, match="complex64"):
        pack({"it": torch.zeros(2, dtype=torch.complex64)})
    with pytest.raises(InvalidInput, match="9 axes"):
        pack({"it": torch.zeros([1] * 9)})
    wide = QuantisedTensor(torch.zeros(3).int(), Grid("linear", 20, torch.ones(1, 1)))
    with pytest.raises(InvalidInput, match="20 bits"):
        pack({"it": wide})
