"""Counting what happens in a minute, by many threads at once."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits.storage import MemoryStorage

from automl_api.keys import rates

MOST = 40


class SlowStorage(MemoryStorage):
    """Lets other threads come between setting its timer and starting it, as they sometimes do."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "timer":
            time.sleep(0.001)


def test_requests_that_come_at_once_are_counted_and_none_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "MemoryStorage", SlowStorage)
    rate = rates.Rate(MOST)

    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(rate.count, ["one key"] * 2 * MOST))

    assert sum(counted) == MOST
