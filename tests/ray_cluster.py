"""A Ray cluster of several nodes on this machine, and which processes evaluate on it."""

from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.2"  # for 127.0.0.1, Ray would take the machine's address in the network
STORE_BYTES = 100_000_000
# A node that was killed is known to be dead within seconds.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}


class RayCluster:
    """A head, which is a node without cores, and nodes that evaluate."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.nodes: list[Any] = []
        self.address: str = cluster.address

    def add(self, **resources: Any) -> Any:
        """Start a node and wait until it has joined."""
        node = self._cluster.add_node(
            node_ip_address=LOOPBACK, object_store_memory=STORE_BYTES, **resources
        )
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """Kill -9 a node and all of its processes."""
        self.nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.wait_for_nodes()

    def evaluating(self, *nodes: Any) -> Set[int]:
        """Return the child processes that evaluate on these nodes, or on any."""
        return evaluating_below({_raylet(each) for each in nodes or self.nodes})


@contextmanager
def ray_cluster(*nodes: dict[str, Any]) -> Iterator[RayCluster]:
    """Start a head, and one node for each of the resources given."""
    import ray
    from ray.cluster_utils import Cluster

    head = {
        "num_cpus": 0,
        "node_ip_address": LOOPBACK,
        "include_dashboard": False,
        "_system_config": HEALTH,
    }
    started = Cluster(True, head_node_args={**head, "object_store_memory": STORE_BYTES})
    try:
        cluster = RayCluster(started)
        for each in nodes:
            cluster.add(**each)
        yield cluster
    finally:
        ray.shutdown()  # a node whose driver this is cannot be removed
        started.shutdown()


def evaluating_below(processes: Set[int]) -> Set[int]:
    """Return the child processes that evaluate and descend from these."""
    return {
        process_id
        for process_id in (int(each.name) for each in Path("/proc").glob("[0-9]*"))
        if "spawn_main" in _read(process_id, "cmdline")
        and not processes.isdisjoint(_ancestors(process_id))
    }


def raylets_of(address: str) -> Set[int]:
    """Return the processes that are a node of the cluster at this address."""
    return {
        int(each.name)
        for each in Path("/proc").glob("[0-9]*")
        if "raylet" in (told := _read(int(each.name), "cmdline")) and address in told
    }


def _raylet(node: Any) -> int:
    return node.all_processes["raylet"][0].process.pid


def _ancestors(process_id: int) -> Iterator[int]:
    while process_id > 1:
        fields = _read(process_id, "stat").rpartition(")")[2].split()
        process_id = int(fields[1]) if fields else 0
        yield process_id


def _read(process_id: int, name: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process_id}/{name}").read_text()
    return ""
