"""Which images were predicted right, one bit each, as text."""

import base64

import numpy as np


def pack_hits(hits: np.ndarray) -> str:
    """Return booleans (N,) as base64 of packed bits, most significant first."""
    return base64.b64encode(np.packbits(hits.astype(bool)).tobytes()).decode()


def unpack_hits(text: str, total: int) -> np.ndarray:
    """Return the booleans (total,) that `pack_hits` packed."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=total).astype(bool)
