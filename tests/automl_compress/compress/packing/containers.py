"""Containers taken apart and put together again, with whatever in them."""

import hashlib
import zlib

import torch
from torch import Tensor

from automl_compress.compress.packing.byte_fields import varint
from automl_compress.compress.packing.container import pack
from automl_compress.compress.quantisers import QuantisedTensor, create_quantiser

PackedTensor = Tensor | QuantisedTensor
BODY_AT = 41  # behind name, version and checksum


def same_bytes(first: Tensor, second: Tensor) -> bool:
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and first.contiguous().reshape(-1).view(torch.uint8).tolist()
        == second.contiguous().reshape(-1).view(torch.uint8).tolist()
    )


def same(first: PackedTensor, second: PackedTensor) -> bool:
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        return (
            isinstance(first, Tensor) and isinstance(second, Tensor) and same_bytes(first, second)
        )
    one, two = first.grid, second.grid
    return (
        torch.equal(first.codes, second.codes)
        and same_bytes(one.values, two.values)
        and (one.form, one.bits, one.axis, one.is_signed)
        == (two.form, two.bits, two.axis, two.is_signed)
    )


def directory_of(packed: bytes) -> tuple[bytes, int]:
    """The inflated directory, and where the first section begins, by a second reading."""
    place, sizes = BODY_AT, []
    for _ in range(2):
        value, shift = 0, 0
        while True:
            value |= (packed[place] & 127) << shift
            shift, place = shift + 7, place + 1
            if packed[place - 1] < 128:
                break
        sizes.append(value)
    inflated = zlib.decompress(packed[place : place + sizes[0]])
    assert len(inflated) == sizes[1]
    return inflated, place + sizes[0]


def small_container() -> bytes:
    weights = torch.randn(8, 40, generator=torch.Generator().manual_seed(2))
    sparse = torch.where(weights > 1, weights, torch.zeros(()))
    return pack(
        {
            "first": create_quantiser("uniform").fit(weights, 4, 0),
            "second": create_quantiser("kmeans").fit(weights, 3),
            "bias": weights[0],
            "sparse": sparse,
            "flag": weights > 0,
        },
        {"key": "value"},
    )


def signed(body: bytes) -> bytes:
    """A container with this body and the checksum that belongs to it."""
    return b"AMLCPACK\x01" + hashlib.sha256(body).digest() + body


def with_directory(directory: bytes, sections: bytes = b"", size: int | None = None) -> bytes:
    deflated = zlib.compress(directory)
    announced = len(directory) if size is None else size
    return signed(varint(len(deflated)) + varint(announced) + deflated + sections)
