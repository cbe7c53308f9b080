"""How often something may happen in a minute, counted in this process."""

import math
import threading
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from automl_api.problem import Problem


class Rate:
    """Counts what happens, by the name of whoever does it."""

    def __init__(self, per_minute: int) -> None:
        """Allow so much in any 60 seconds."""
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        # Two threads that count at once make the storage start the same timer twice, and fail.
        self._lock = threading.Lock()

    def count(self, name: str) -> bool:
        """Count once more; return whether it was still allowed."""
        with self._lock:
            return self._limiter.hit(self._item, name)

    def check(self, name: str, what: str) -> None:
        """Raise the problem `rate-limited` where no more is allowed; nothing is counted."""
        with self._lock:
            is_allowed = self._limiter.test(self._item, name)
        if not is_allowed:
            self._refuse(name, what)

    def take(self, name: str, what: str) -> None:
        """Count once more, or raise the problem `rate-limited`."""
        if not self.count(name):
            self._refuse(name, what)

    def _refuse(self, name: str, what: str) -> None:
        with self._lock:
            ends = self._limiter.get_window_stats(self._item, name).reset_time
        seconds = max(1, math.ceil(ends - time.time()))
        raise Problem(
            429,
            "rate-limited",
            f"{what}: {self._item.amount} a minute are allowed; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )
