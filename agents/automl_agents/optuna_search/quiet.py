"""Keeps what Optuna logs off standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quiet() -> Iterator[None]:
    """Let errors through and nothing less; the level is put back as it was.

    Warnings are of no use to our users: that a kernel could not be fitted, for instance, after
    which the default one served.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
