"""Evaluations on a real Ray cluster of this machine: a head that evaluates nothing, two nodes."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from automl_api.diagnosis import diagnose
from automl_api.settings import Settings
from automl_compress.core import Policy
from automl_compress.core.errors import ClusterFailed
from automl_compress.evaluate.cluster import ClusterPool, TrialNeeds
from automl_compress.evaluate.cluster_joining import join, leave
from automl_compress.evaluate.evaluator import EvaluatorRecord
from automl_compress.evaluate.limits import TrialLimits
from tests.api.engine.toy_record import ToyRecord
from tests.contracts.executor import PATIENCE_SECONDS, ExecutorContract, OpenExecutor, Processes
from tests.fakes import residual_graph
from tests.ray_cluster import RayCluster, ray_cluster

pytest.importorskip("ray", reason="Ray is not installed: automl-compress[ray]")
pytestmark = pytest.mark.slow

LARGE, SMALL = 8_000_000_000, 1_000_000_000  # memory of the two nodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster({"num_cpus": 1, "memory": LARGE}, {"num_cpus": 1, "memory": SMALL}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def open_executor(cluster: RayCluster) -> OpenExecutor:
    """On the large node alone: for that much memory each evaluation asks."""

    def opened(record: EvaluatorRecord, capacity: int, seconds: float | None = None) -> ClusterPool:
        return ClusterPool(record, cluster.address, capacity, TrialLimits(seconds, LARGE // 4))

    return opened


@pytest.fixture(scope="module")
def processes(cluster: RayCluster) -> Processes:
    return cluster.evaluating


class TestClusterPool(ExecutorContract):
    """Run the contract."""


def test_an_evaluation_that_no_node_has_room_for_is_refused(cluster: RayCluster) -> None:
    with pytest.raises(ClusterFailed, match=r"no node of the Ray cluster has .* 3 CPUs, 0\.5 GPUs"):
        ClusterPool(ToyRecord(0.0, Path()), cluster.address, needs=TrialNeeds(3.0, 0.5))


def test_a_lost_node_loses_no_trial(cluster: RayCluster, tmp_path: Path) -> None:
    widths = [group.channels for group in residual_graph().groups]
    _, small = cluster.nodes
    with ClusterPool(ToyRecord(3.0, tmp_path), cluster.address, 2) as pool:
        for number in range(2):
            policy = Policy.from_widths(residual_graph(), [widths[0] - number, *widths[1:]])
            pool.submit(number, policy)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not cluster.evaluating(small):
            assert time.monotonic() < deadline, "both nodes take part"
            time.sleep(0.05)

        cluster.kill(small)

        found = [pool.next_finished(PATIENCE_SECONDS) for _ in range(2)]
    assert sorted((each.number, each.failure) for each in found if each) == [
        (number, None) for number in range(2)
    ]


def test_the_doctor_says_what_the_cluster_has(cluster: RayCluster, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, ray_address=cluster.address)

    found = next(each for each in diagnose(settings) if each.name == "cluster")

    count = len(cluster.nodes)
    assert (found.mark, found.text.partition(" at ")[0]) == ("ok", f"{count + 1} nodes")
    assert f"with {count} CPUs and 0 GPUs" in found.text


def test_a_node_with_another_version_is_named(cluster: RayCluster, tmp_path: Path) -> None:
    metadata = tmp_path / "automl_compress-99.9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: automl-compress\nVersion: 99.9\n")
    node = cluster.add(num_cpus=1, env_vars={"PYTHONPATH": str(tmp_path)})
    leave()
    try:
        with pytest.raises(ClusterFailed, match=r"has 99\.9; this is .* Install the same version"):
            join(cluster.address)
    finally:
        cluster.kill(node)


def test_an_address_where_nobody_listens_is_named() -> None:
    leave()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

        with pytest.raises(ClusterFailed, match=f"no Ray cluster answers at {address}"):
            join(address)


@pytest.mark.parametrize("address", ["local", "auto", "ray://head:10001", "head", "head:port"])
def test_an_address_must_be_a_host_and_a_port(address: str) -> None:
    leave()
    with pytest.raises(ClusterFailed, match="give HOST:PORT of the head of a running cluster"):
        join(address)
