"""Names of stored things: a prefix that says what it is, then text that sorts by time."""

import secrets
import threading
import time
from typing import Literal

Prefix = Literal["fil", "mdl", "dat", "job", "trl", "pol", "art", "tgt", "key"]

# Crockford's base 32: no i, l, o, u; its letters sort as their values do.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 20
RANDOM_BITS = 52  # below 48 bits of milliseconds: 100 bits in 20 letters

_lock = threading.Lock()
_latest = 0


def new_id(prefix: Prefix) -> str:
    """Return `prefix_` and 20 letters; ids of one process ascend strictly."""
    global _latest
    value = (time.time_ns() // 1_000_000 << RANDOM_BITS) | secrets.randbits(RANDOM_BITS - 1)
    with _lock:
        _latest = value = max(value, _latest + 1)
    return f"{prefix}_{_letters(value)}"


def _letters(value: int) -> str:
    places = range((LENGTH - 1) * 5, -1, -5)
    return "".join(ALPHABET[value >> place & 31] for place in places)
