"""The packed network: one file of coded, sparse and plain tensors.

    ================== ================================================================
    8 bytes            `AMLCPACK`
    byte               version, 1
    32 bytes           SHA-256 of everything that follows
    varint, varint     size of the directory as it stands here, and inflated
    directory          deflated; what tensors there are, in order
    sections           one for each tensor, in the same order, without gaps
    ================== ================================================================

The directory starts with the number of metadata texts, each a key and a value, and the number of
tensors. A tensor's entry is its name, a byte for its kind, number of axes and sizes, and

- plain: a byte for its type; its section is the entries, little endian;
- sparse: likewise, then the size of the coded mask; its section is the mask, one integer for each
  entry, and the entries whose bytes are not all zero;
- quantised: a byte for the grid's form, bits, axis + 1 (0: one grid for all), 1 where signed,
  number of grids, and the size of the codes; its section is the float32 scales or codebooks,
  then the codes.

All numbers of the directory are varints. Masks and codes are as in `packing.codec`.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from automl_compress.compress.packing.byte_fields import ByteReader, text, varint
from automl_compress.compress.packing.codec import encode_integers
from automl_compress.compress.packing.sections import (
    Encoder,
    PackedTensor,
    SectionSize,
    read_fields,
    read_tensor,
    written_tensor,
)
from automl_compress.compress.quantisers.grid import QuantisedTensor
from automl_compress.core.errors import DataInvalid, InvalidInput

MAGIC = b"AMLCPACK"
_VERSION = 1
_DIGEST_BYTES = 32
_LARGEST_DIRECTORY = 2**24
_MOST_AXES = 8
_LARGEST_ENTRIES = 2**26


@dataclass(frozen=True, eq=False)
class PackedNetwork:
    """What a container holds.

    Attributes:
        tensors: by state-dict name, in the file's order.
        sizes: what each takes in the file, in bytes.
        metadata: texts that came along.
        size_bytes: of the file.
    """

    tensors: dict[str, PackedTensor]
    sizes: dict[str, SectionSize]
    metadata: dict[str, str]
    size_bytes: int

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return all tensors as floating point, as far as they were."""
        return {
            name: each.dequantise() if isinstance(each, QuantisedTensor) else each
            for name, each in self.tensors.items()
        }


def pack(
    tensors: Mapping[str, PackedTensor],
    metadata: Mapping[str, str] | None = None,
    *,
    encode: Encoder = encode_integers,
) -> bytes:
    """Write tensors into a container; its length is the network's stored size.

    Args:
        tensors: by name; plain ones are stored bit for bit, as sparse where that is smaller.
        metadata: texts to come along.
        encode: of codes and masks; `encode_relative` writes them as Deep Compression does, and
            every container says itself how it was written.

    Raises:
        InvalidInput: a tensor has a type or number of axes that cannot be stored, or the
            coder's package is missing.
    """
    notes = dict(metadata or {})
    directory = [varint(len(notes)), *(text(key) + text(notes[key]) for key in notes)]
    directory.append(varint(len(tensors)))
    sections: list[bytes] = []
    for name, tensor in tensors.items():
        shape = tuple(tensor.codes.shape if isinstance(tensor, QuantisedTensor) else tensor.shape)
        if len(shape) > _MOST_AXES:
            raise InvalidInput(f"{name} has {len(shape)} axes; {_MOST_AXES} at most can be stored")
        kind, fields, section = written_tensor(name, tensor, encode)
        sizes = b"".join(map(varint, shape))
        directory.append(text(name) + bytes([kind]) + varint(len(shape)) + sizes + fields)
        sections.append(section)
    plain = b"".join(directory)
    if len(plain) > _LARGEST_DIRECTORY:
        raise InvalidInput(
            f"names and metadata take {len(plain):,} bytes; {_LARGEST_DIRECTORY:,} at most can be "
            "stored"
        )
    deflated = zlib.compress(plain, 9)
    body = b"".join([varint(len(deflated)), varint(len(plain)), deflated, *sections])
    return b"".join([MAGIC, bytes([_VERSION]), hashlib.sha256(body).digest(), body])


def unpack(content: bytes, largest_entries: int = _LARGEST_ENTRIES) -> PackedNetwork:
    """Read a container.

    Nothing in it is run. Whatever the content says, memory stays within a small multiple of its
    own size and about 25 bytes for each of `largest_entries`.

    Args:
        content: the file.
        largest_entries: of all tensors together; more are refused before any is read. A few bytes
            can stand for any number of equal entries, so raise it for files that you trust.

    Raises:
        DataInvalid: the content is no container, of another version, truncated or damaged, or
            larger than allowed.
        InvalidInput: the coder's package is missing.
    """
    reader = ByteReader(content, "the container")
    if bytes(reader.take(len(MAGIC))) != MAGIC:
        raise DataInvalid("this is no packed network: it does not begin with AMLCPACK")
    if (version := reader.byte()) != _VERSION:
        raise DataInvalid(
            f"the container is of version {version}, this program reads {_VERSION}; update it"
        )
    digest = bytes(reader.take(_DIGEST_BYTES))
    body = reader.take(reader.left)
    if hashlib.sha256(body).digest() != digest:
        raise reader.invalid("its checksum is another one")
    sections = ByteReader(body, "the container")
    metadata, entries = _read_directory(sections, largest_entries)
    tensors: dict[str, PackedTensor] = {}
    sizes: dict[str, SectionSize] = {}
    for name, (kind, shape, fields) in entries.items():
        tensors[name], sizes[name] = read_tensor(name, kind, shape, fields, sections)
    sections.end()
    return PackedNetwork(tensors, sizes, metadata, len(content))


Entry = tuple[int, tuple[int, ...], tuple[int, ...]]


def _read_directory(
    sections: ByteReader, largest_entries: int
) -> tuple[dict[str, str], dict[str, Entry]]:
    size, plain_size = sections.varint(), sections.varint()
    reader = ByteReader(_inflated(sections, size, plain_size), "the container's directory")
    metadata = {reader.text(): reader.text() for _ in range(_number(reader))}
    found: dict[str, Entry] = {}
    entries = 0
    for _ in range(_number(reader)):
        name, kind, axes = reader.text(), reader.byte(), reader.varint()
        if name in found or axes > _MOST_AXES:
            raise reader.invalid(f"{name!r} is there twice, or has {axes:,} axes")
        shape = tuple(reader.varint() for _ in range(axes))
        entries += _entries(shape)
        if entries > largest_entries:
            raise DataInvalid(
                f"the container's tensors have more than {largest_entries:,} entries up to "
                f"{name!r}; raise largest_entries if you trust it"
            )
        found[name] = kind, shape, read_fields(kind, reader)
    reader.end()
    return metadata, found


def _entries(shape: tuple[int, ...]) -> int:
    """Return the number of entries; a size of zero does not hide the others from the limit."""
    product = 1
    for size in shape:
        product *= max(size, 1)
    return product


def _number(reader: ByteReader) -> int:
    """Read how many items follow; each takes a byte at least."""
    number = reader.varint()
    if number > reader.left:
        raise reader.invalid(f"it announces {number:,} items and is too short for them")
    return number


def _inflated(sections: ByteReader, size: int, plain_size: int) -> bytes:
    if plain_size > _LARGEST_DIRECTORY:
        raise sections.invalid(f"its directory is said to take {plain_size:,} bytes")
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(bytes(sections.take(size)), plain_size + 1)
    except zlib.error as error:
        raise sections.invalid("its directory cannot be inflated") from error
    if len(plain) != plain_size or not inflater.eof or inflater.unused_data:
        raise sections.invalid("its directory has another size than announced")
    return plain
