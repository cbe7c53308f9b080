"""How many threads a process that evaluates networks may use."""

import os

# Small convolutions lose by threads, and two processes that spin for each other lose most of
# the machine (the demo: 337 s instead of 51 s). Work is spread over processes, one thread each.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def prefer_one_thread() -> None:
    """Give this process and its children one thread each, unless the environment says otherwise.

    Before torch is imported: its OpenMP runtime reads the environment once, when it is loaded.
    """
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
