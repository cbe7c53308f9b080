"""Packed networks (`.amlc`) with something changed, with the right checksum or the old one."""

import random
from functools import cache

from automl_compress.compress.packing.container import PackedNetwork, pack, unpack
from automl_compress.core.errors import DataInvalid
from tests.automl_compress.compress.packing.containers import (
    BODY_AT,
    directory_of,
    same,
    signed,
    small_container,
    with_directory,
)
from tests.file_fuzzing.changes import change_bytes
from tests.file_fuzzing.watching import Changed, Marker, Subject

LARGEST_ENTRIES = 10_000


def changed_container(rng: random.Random, marker: Marker) -> Changed:
    """Change the file as it is, or its body or its directory under a checksum that is right."""
    content, kind = _small(), rng.random()
    if kind < 0.2:
        return Changed(change_bytes(content, rng), is_damaged=True)
    if kind < 0.6:
        return Changed(signed(change_bytes(content[BODY_AT:], rng)))
    directory, first_section = directory_of(content)
    if rng.random() < 0.05:
        directory = directory.replace(b"value", marker.expression.encode()[:5])
    return Changed(with_directory(change_bytes(directory, rng), content[first_section:]))


def judge_container(changed: Changed) -> bool:
    """Read it: whether it was taken.

    Raises:
        AssertionError: it should not have been, or does not hold what it is said to hold.
    """
    try:
        found = unpack(changed.content, LARGEST_ENTRIES)
    except DataInvalid:
        return False
    assert not changed.is_damaged or changed.content == _small()
    again = unpack(pack(found.tensors, found.metadata), LARGEST_ENTRIES)
    assert _agree(found, again)
    state = found.state_dict()
    assert sum(each.numel() for each in state.values()) <= LARGEST_ENTRIES
    return True


@cache
def _small() -> bytes:
    return small_container()


def _agree(one: PackedNetwork, two: PackedNetwork) -> bool:
    return (
        one.metadata == two.metadata
        and list(one.tensors) == list(two.tensors)
        and all(same(one.tensors[name], two.tensors[name]) for name in one.tensors)
    )


CONTAINERS = Subject("container", changed_container, judge_container)
