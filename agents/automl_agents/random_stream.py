"""Random numbers that depend on a seed and a counter alone."""

import numpy as np


def random_stream(seed: int, *counters: int) -> np.random.Generator:
    """Return the generator of this place in a search.

    A stream for each ask and each tell means that a snapshot needs no generator's state, and
    that neither the order of tells nor the number of draws in one ask changes another ask.

    Args:
        seed: of the search; negative ones are folded into 64 bits.
        counters: which purpose and which ask or tell; at least 0.
    """
    return np.random.default_rng([seed % 2**64, *counters])
