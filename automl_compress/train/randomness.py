"""The one place that seeds torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator, and put it back afterwards.

    Initial weights and dropout can't be handed a generator, so they need the global one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
