"""Zip archives of images, honest ones and those that were made to harm."""

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image


def picture(seed: int, shape: tuple[int, ...] = (4, 5, 3), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def class_files(
    *folders: str, count: int = 5, shape: tuple[int, ...] = (4, 5, 3)
) -> dict[str, bytes]:
    """So many images in each class folder, each another one."""
    return {
        f"{folder}/{number}.png": picture(100 * place + number, shape)
        for place, folder in enumerate(folders)
        for number in range(count)
    }


def archive(
    members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED, *folders: str
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        for folder in folders:
            written.mkdir(folder)
        for name, content in members.items():
            written.writestr(name, content)
    return buffer.getvalue()


HONEST = class_files("cat", "dog")


def with_member(member: zipfile.ZipInfo | str, content: bytes) -> bytes:
    """The honest archive with one member more, which may be there already."""
    buffer = io.BytesIO(archive(HONEST))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "a") as written:
        written.writestr(member, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def symbolic_link() -> bytes:
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return with_member(link, b"/etc/passwd")


def encrypted() -> bytes:
    content = bytearray(archive(HONEST))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    return bytes(content)


def huge_picture(side: int = 9_000) -> bytes:
    """A picture of 81 million pixels in a kilobyte: its header alone is believed."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999)))


def understated(name: str = "cat/0.png") -> bytes:
    """A member that inflates to 40 MB and is said to hold ten bytes."""
    bomb = bytearray(archive({name: bytes(40_000_000), **class_files("dog")}))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = bomb.index(signature) + place
        bomb[at : at + 4] = struct.pack("<L", 10)
    return bytes(bomb)


def many_members(count: int = 65_535) -> bytes:
    """A list of members that says it is longer than it may be."""
    content = bytearray(archive(HONEST))
    content[-14:-10] = struct.pack("<2H", count, count)
    return bytes(content)


def larger_record() -> bytes:
    """An archive whose ZIP64 records, in the comment of a member, tell of another list."""
    member = zipfile.ZipInfo("cat/9.png")
    member.comment = b"PK\x06\x07" + bytes(16)
    return with_member(member, picture(9))


@dataclass(frozen=True)
class Hostile:
    """An archive that must be refused, and what the refusal says."""

    make: Callable[[], bytes]
    says: str


HOSTILE = {
    "absolute path": Hostile(lambda: with_member("/etc/cat.png", picture(1)), "relative name"),
    "path that leads out": Hostile(
        lambda: with_member("cat/../../escaped.png", picture(1)), "relative name"
    ),
    "drive": Hostile(lambda: with_member("C:/cat/1.png", picture(1)), "relative name"),
    "backslashes": Hostile(lambda: with_member("..\\cat\\1.png", picture(1)), "relative name"),
    "control sign": Hostile(lambda: with_member("cat/\x1b[2J.png", picture(1)), "relative name"),
    "deep folders": Hostile(lambda: with_member("a/" * 40 + "1.png", picture(1)), "relative name"),
    "symbolic link": Hostile(symbolic_link, "link"),
    "encrypted": Hostile(encrypted, "encrypted"),
    "two of one name": Hostile(lambda: with_member("cat/1.png", picture(1)), "twice"),
    "file and folder": Hostile(lambda: with_member("cat/1.png/1.png", picture(1)), "is a file"),
    "archive within": Hostile(lambda: with_member("cat/more.zip", archive(HONEST)), "no image"),
    "archive by another name": Hostile(
        lambda: with_member("cat/more.png", archive(HONEST)), "cannot be decoded"
    ),
    "text by another name": Hostile(
        lambda: with_member("cat/more.png", b"#!/bin/sh"), "cannot be decoded"
    ),
    "vector graphics": Hostile(lambda: with_member("cat/1.svg", b"<svg/>"), "no image"),
    "image in no class": Hostile(lambda: with_member("1.png", picture(1)), "no class folder"),
    "folder in a class": Hostile(lambda: with_member("cat/a/1.png", picture(1)), "no image"),
    "huge picture": Hostile(lambda: with_member("cat/huge.png", huge_picture()), "9000x9000"),
    "large file": Hostile(
        lambda: with_member("cat/zeros.png", bytes(17 * 2**20)), "unpacks to 17,825,792 bytes"
    ),
    "more than is said": Hostile(understated, "zip archive"),
    "many members": Hostile(many_members, "65,535 members"),
    "another list of members": Hostile(larger_record, "ZIP64"),
    "cut short": Hostile(lambda: archive(HONEST)[:-30], "cut short"),
    "damaged": Hostile(
        lambda: archive(HONEST, zipfile.ZIP_STORED).replace(b"IDAT", b"IDAX", 1), "zip archive"
    ),
    "grey and colour": Hostile(
        lambda: with_member("cat/grey.png", picture(1, (4, 5))), "one size and kind"
    ),
    "one class": Hostile(lambda: archive(class_files("cat")), "at least two classes"),
    "no images": Hostile(lambda: archive({}, zipfile.ZIP_STORED, "cat", "dog"), "no images"),
    "another split": Hostile(
        lambda: archive(class_files("train/cat", "train/dog", "test/cat", "val/cat")),
        "none of ('train', 'search', 'test')",
    ),
    "no test split": Hostile(lambda: archive(class_files("train/cat", "train/dog")), "/test"),
}
