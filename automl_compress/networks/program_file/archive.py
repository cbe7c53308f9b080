"""The zip archive of a `.pt2` file: its members by name, checked before any is read.

`torch.export.save` stores members without compression, so nothing can grow while it is read.
"""

import os
import stat
import struct
import zipfile
from typing import BinaryIO, NoReturn

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.program_file.limits import ProgramLimits

_HOW = "save the network with torch.export.save of torch 2.9 or newer"
# APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16: the three records at the end of an archive.
_END, _LOCATOR, _END_64 = (
    struct.Struct("<4s4H2LH"),
    struct.Struct("<4sLQL"),
    struct.Struct("<4sQ2H2L4Q"),
)
_LONGEST_NAME = 512
_LOCAL_HEADER_BYTES = 30


def refuse(problem: str, what_to_do: str = _HOW) -> NoReturn:
    """Raise ModelInvalid about a program file."""
    raise ModelInvalid(f"the .pt2 file {problem}; {what_to_do}")


class ProgramArchive:
    """The members of one program, by their names below the archive's root folder."""

    def __init__(self, file: BinaryIO, limits: ProgramLimits) -> None:
        """Check the list of members; none of them is read.

        Args:
            file: the archive, open for reading.
            limits: what it may hold.

        Raises:
            ModelInvalid: no such archive, too large, or with members that no honest one has.
        """
        self._limits = limits
        size = file.seek(0, os.SEEK_END)
        if size > limits.file_bytes:
            refuse(
                f"has {size:,} bytes, and {limits.file_bytes:,} are allowed",
                "give a smaller network",
            )
        _check_directory(file, size, limits)
        try:
            self._zip = zipfile.ZipFile(file)
            members = self._zip.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
            refuse(f"is no archive that can be read ({error})")
        if len(members) > limits.members:
            refuse(f"has {len(members):,} members, and {limits.members:,} are allowed")
        for member in members:
            _check_member(member)
        if (
            sum(_LOCAL_HEADER_BYTES + len(each.filename) + each.file_size for each in members)
            > size
        ):
            refuse("has members that overlap each other")
        self._members = _below_root(members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self, folder: str) -> list[str]:
        """Return the names of all members in this folder, the folder included."""
        return [name for name in self._members if name.startswith(f"{folder}/")]

    def size(self, name: str) -> int:
        """Return how many bytes a member holds; raises ModelInvalid where there is none."""
        if name not in self._members:
            refuse(f"has no member {name!r}")
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """Return a member's bytes; raises ModelInvalid where there is none, or it is damaged."""
        self.size(name)
        try:
            return self._zip.read(self._members[name])
        except (
            zipfile.BadZipFile,
            struct.error,
            EOFError,
            ValueError,
            NotImplementedError,
            OverflowError,
            OSError,
        ) as error:
            refuse(f"is damaged in its member {name!r} ({error})", "send it again")

    def read_document(self, name: str) -> bytes:
        """Return the bytes of a JSON member; raises ModelInvalid where it is too large, too."""
        size = self.size(name)
        if size > self._limits.json_bytes:
            refuse(
                f"has {size:,} bytes in {name!r}, and {self._limits.json_bytes:,} are allowed",
                "give a smaller network",
            )
        return self.read(name)


def _check_directory(file: BinaryIO, size: int, limits: ProgramLimits) -> None:
    """Bound the list of members before zipfile makes an object of each."""
    if size < _END.size:
        refuse("is empty, or cut short")
    file.seek(max(0, size - _END.size - _LOCATOR.size - _END_64.size))
    tail = file.read()
    signature, *_, entries, length, _, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\x05\x06" or comment:
        refuse("is no zip archive, or cut short")
    if len(tail) == _END.size + _LOCATOR.size + _END_64.size:
        large, locator = tail[: _END_64.size], tail[_END_64.size : -_END.size]
        if locator.startswith(b"PK\x06\x07") and large.startswith(b"PK\x06\x06"):
            # zipfile believes this record where there is one; the two must say the same.
            _, *_, entries_64, length_64, _ = _END_64.unpack(large)
            if (entries_64, length_64) != (entries, length):
                refuse("says two different things of its members")
    if length > limits.directory_bytes or entries > limits.members:
        refuse(f"lists {entries:,} members in {length:,} bytes, more than is allowed")


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = name.split("/")
    if (
        len(name) > _LONGEST_NAME
        or "\\" in name
        or not name.isprintable()
        or any(part in ("", ".", "..") for part in parts)
        or ":" in parts[0]
        or name != member.orig_filename
    ):
        refuse(f"has a member called {name[:_LONGEST_NAME]!r}, which is no plain relative name")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        refuse(f"has a member {name!r} that is a link, a folder or a device")
    if member.flag_bits & 1:
        refuse(f"has the encrypted member {name!r}")
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        refuse(f"has the compressed member {name!r}, and torch compresses none")


def _below_root(members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    roots = {member.filename.partition("/")[0] for member in members}
    if len(roots) != 1:
        refuse(f"has {len(roots)} root folders, and an archive of torch has one")
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = member.filename.partition("/")[2]
        if name in found:
            refuse(f"has two members called {member.filename!r}")
        found[name] = member
    return found
