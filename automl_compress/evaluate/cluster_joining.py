"""Becoming a driver of a Ray cluster; the one place where Ray is imported, and only then.

Whoever reaches a cluster's ports can run code on it, so they belong behind a firewall.
"""

import signal
import socket
import threading
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from automl_compress.core.errors import ClusterFailed

PACKAGE = "automl-compress"
REACH_SECONDS = 5.0  # for an address to answer at all
PROBE_SECONDS = 120.0  # for every node to start a process and say what it has
_JOINING = threading.Lock()


def join(address: str) -> Any:
    """Make this process a driver of a cluster, once, and see that every node can evaluate.

    Returns:
        The module `ray`.

    Raises:
        ClusterFailed: Ray is not installed here, nothing answers at the address, or a node has
            not this version of the package.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterFailed(
            f"RAY_ADDRESS is {address!r}, and Ray is not installed here; "
            "pip install 'automl-compress[ray]', or unset RAY_ADDRESS"
        ) from error
    with _JOINING:
        if not ray.is_initialized():
            _reach(address)
            _connect(ray, address)
            try:
                _check_versions(ray, address)
            except ClusterFailed:
                ray.shutdown()
                raise
    return ray


def leave() -> None:
    """Be no driver any more; what is in flight is dropped."""
    import ray

    ray.shutdown()


def _reach(address: str) -> None:
    """Look whether somebody listens: Ray itself would try for a minute, and say it in C++."""
    place = urlsplit(f"//{address}")
    try:
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if "://" in address or host is None or port is None:
        raise ClusterFailed(
            f"RAY_ADDRESS is {address!r}; give HOST:PORT of the head of a running cluster, of "
            "which this machine is a node (ray start --address=HOST:PORT)"
        )
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        raise ClusterFailed(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start its head, "
            "open the way to it, or unset RAY_ADDRESS to evaluate on this machine"
        ) from error


def _connect(ray: Any, address: str) -> None:
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray has no root of what it raises here
        raise ClusterFailed(
            f"the Ray cluster at {address} cannot be joined: {first_line(error)}; run its nodes "
            "with this version of Ray and Python, and make this machine one of them "
            f"(ray start --address={address})"
        ) from error
    finally:
        if is_main:  # Ray replaces the handler of a process that it joins
            signal.signal(signal.SIGTERM, handler)


def _check_versions(ray: Any, address: str) -> None:
    ours = version(PACKAGE)
    others = [
        f"{node} has {theirs or 'no automl-compress'}"
        for node, theirs in sorted(_versions(ray).items())
        if theirs != ours
    ]
    if others:
        raise ClusterFailed(
            f"of the Ray cluster at {address}, {'; '.join(others)}; this is {ours}. "
            "Install the same version on every node, and start them again"
        )


def _versions(ray: Any) -> Mapping[str, str]:
    """Return the version of the package on every node that can evaluate; '' where it is absent."""

    def installed(package: str) -> str:  # within a function, so that Ray sends its code along
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(package)
        except PackageNotFoundError:
            return ""

    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(installed)
    nodes = {each["NodeID"]: each for each in ray.nodes() if _can_evaluate(each)}
    asked = {
        f"{each['NodeManagerHostname']} ({node_id[:8]})": probe.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
        ).remote(PACKAGE)
        for node_id, each in nodes.items()
    }
    found: dict[str, str] = {}
    for node, answer in asked.items():
        try:
            found[node] = ray.get(answer, timeout=PROBE_SECONDS)
        except ray.exceptions.TaskUnschedulableError:
            continue  # the node went while it was asked
        except ray.exceptions.RayError as error:
            raise ClusterFailed(
                f"the Ray cluster runs no task: {first_line(error)}; look at its logs"
            ) from error
    return found


def _can_evaluate(node: Mapping[str, Any]) -> bool:
    return node["Alive"] and node["Resources"].get("CPU", 0) > 0


def first_line(error: Exception) -> str:
    """Return what one of Ray's errors says first; Ray adds pages to it."""
    lines = [each.strip() for each in str(error).splitlines() if each.strip()]
    # What a remote function raised stands last, under its traceback.
    return (lines[-1] if "Traceback" in str(error) else lines[0]) if lines else repr(error)
