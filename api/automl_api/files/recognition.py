"""Which kind of file some bytes are, told by the bytes and never by a name."""

import struct
from dataclasses import dataclass
from typing import Literal

from automl_compress.data.image_names import is_image_name

FileFormat = Literal["safetensors", "pt2", "npz", "parquet", "zip"]

ALLOWED = (
    "a safetensors file (network weights), a .pt2 program (a network, by torch.export.save), an "
    "npz archive, a parquet file or a zip archive of class folders (images)"
)
HEAD_BYTES = 512
LARGEST_HEADER_BYTES = 100_000_000  # what safetensors itself allows

_TAIL_BYTES = 4
# What torch.export.save writes first, below a root folder of any name; torch.save, which pickles,
# begins with data.pkl.
_PROGRAM_MEMBERS = (b"data/weights/", b"data/constants/", b"models/", b"archive_format")
# What people put before their class folders. The data's reader names what it does not take.
_TEXT_SUFFIXES = (".txt", ".md", ".rst", ".csv", ".tsv", ".json")
_TEXT_NAMES = ("readme", "license", "licence", "copying", "notice")
_ZIP_NAME_LENGTH_AT, _ZIP_NAME_AT = 26, 30  # in a zip member's local header


@dataclass(slots=True)
class Ends:
    """The first and the last bytes of a stream."""

    head: bytes = b""
    tail: bytes = b""
    size_bytes: int = 0

    def add(self, chunk: bytes) -> None:
        """Take note of the next bytes."""
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self.tail = (self.tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        self.size_bytes += len(chunk)


def recognise(ends: Ends) -> FileFormat | None:
    """Return the format of a file; None for anything that this service does not take."""
    if ends.head[:4] == b"PAR1" and ends.tail == b"PAR1" and ends.size_bytes >= 12:
        return "parquet"
    if ends.head[:4] == b"PK\x03\x04":
        first = _first_member(ends.head)
        if first.partition(b"/")[2].startswith(_PROGRAM_MEMBERS):
            return "pt2"
        if first.endswith(b".npy"):
            return "npz"
        return "zip" if _begins_a_folder_of_images(first) else None
    if len(ends.head) > 8 and ends.head[8:9] == b"{":
        (header_bytes,) = struct.unpack("<Q", ends.head[:8])
        if header_bytes <= min(LARGEST_HEADER_BYTES, ends.size_bytes - 8):
            return "safetensors"
    return None


def _first_member(head: bytes) -> bytes:
    length = int.from_bytes(head[_ZIP_NAME_LENGTH_AT:_ZIP_NAME_AT][:2], "little")
    return head[_ZIP_NAME_AT : _ZIP_NAME_AT + length]


def _begins_a_folder_of_images(first: bytes) -> bool:
    """Tell it from archives that pickle: a folder, an image, a hidden file or a text begins it."""
    name = first.decode("utf-8", "replace")
    last = name.rpartition("/")[2].lower()
    is_text = last.endswith(_TEXT_SUFFIXES) or last in _TEXT_NAMES
    return name.endswith("/") or last.startswith(".") or is_text or is_image_name(last)
