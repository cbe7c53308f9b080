"""A reader with every bug that the watch looks for; it imports nothing that takes long."""

import os
import random
import time

from tests.file_fuzzing.watching import MEGABYTE, Changed, Marker, Subject


def numbered(rng: random.Random, marker: Marker) -> Changed:
    return Changed(rng.randbytes(1))


def behave(changed: Changed) -> bool:
    """As a reader would with a bug for some files each."""
    kind = changed.content[0] % 32
    if kind == 0:
        os._exit(3)
    if kind == 1:
        while time.process_time() < 60:
            pass
    if kind == 2:
        len(bytearray(os.urandom(1) * (64 * MEGABYTE)))
    assert kind != 3, "taken wrongly"
    return kind % 2 == 0


FAULTY = Subject("faulty", numbered, behave)
