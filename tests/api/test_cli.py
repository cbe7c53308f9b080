import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl_api.cli import main
from automl_api.commands.results import print_floor
from automl_api.commands.space_choices import SpaceChoices
from automl_compress import __version__
from automl_compress.core.document import PolicyDocument
from automl_compress.export.engines import ONNX_PACKAGES, is_installed
from tests.api.conftest import DIGITS_WEIGHTS, RunningService, job_body

pytestmark = pytest.mark.e2e

DIGITS = str(DIGITS_WEIGHTS)
GP_OF_5000 = ("--searcher", "gp", "--evaluations", "5000")


def run(*arguments: str, url: str | None = None, cwd: Path | None = None) -> Any:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AUTOML_")
    }
    if url is not None:
        environment["AUTOML_COMPRESS_URL"] = url
    return subprocess.run(
        [sys.executable, "-m", "automl_api.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        env=environment,
        cwd=cwd,
        check=False,
    )


def test_the_version_is_said() -> None:
    told = run("--version")

    assert (told.returncode, told.stdout) == (0, f"automl-compress {__version__}\n")


def test_a_quantiser_is_chosen_for_the_space() -> None:
    assert "quantiser" not in SpaceChoices().body()
    assert SpaceChoices(quantiser="kmeans").body()["quantiser"] == "kmeans"


def test_what_densities_and_scales_a_space_has_is_said_where_it_was_told() -> None:
    assert SpaceChoices().body() == {}
    told = {"weight_scales": "tensor", "max_element_sparsity": 0.0, "density_step": 1}

    assert SpaceChoices(**told).body() == told


@pytest.mark.parametrize(
    ("given", "schemes"),
    [
        (["channel", "element"], ["channel", "element"]),
        (["channel,element"], ["channel", "element"]),
        (["element"], ["element"]),
        (["none"], []),
    ],
)
def test_a_scheme_given_twice_counts_twice(given: list[str], schemes: list[str]) -> None:
    assert SpaceChoices(scheme=given).body()["schemes"] == schemes


def test_help_loads_nothing_heavy() -> None:
    """What costs the time: torch, numpy, HTTP, SQL. Seconds depend on the machine's load."""
    program = (
        "import sys, automl_api.cli\n"
        "heavy = {'torch', 'numpy', 'httpx', 'sqlalchemy', 'fastapi', 'dbos', 'pydantic'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "serve", "worker", "search", "run", "train", "jobs", "best", "export"),
        *("apply", "doctor", "db"),
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    told = run(command, "--help")

    assert told.returncode == 0
    assert "Usage:" in told.stdout


OF_AMC = ["run", DIGITS, "digits", "--max-macs", "50%", "--searcher", "amc"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "No such command"),
        (["search", DIGITS, "digits"], "--max-macs"),
        (["search", DIGITS, "digits", "--max-macs", "150%"], "50% or 0.5"),
        (["search", DIGITS, "digits", "--max-macs", "50%", "--max-bytes", "50%"], "2 budgets"),
        (["search", DIGITS, "digits", "--max-macs", "50%", "--config", "x"], "NAME=VALUE"),
        (["search", DIGITS, "digits", "--max-macs", "50%", "--mean", "0.5"], "--std"),
        (["search", "none.safetensors", "digits", "--max-macs", "50%"], "none.safetensors"),
        (["run", "resnet-21", "digits", "--max-macs", "50%"], "resnet-20"),
        (["run", "resnet-20", "no-data", "--max-macs", "50%"], "digits"),
        (["run", DIGITS, "digits", "--max-macs", "50%", "--searcher", "genetic"], "uniform"),
        ([*OF_AMC, "--option", "tau=much"], "a number"),
        (["run", DIGITS, "digits", "--max-macs", "0.1%"], "smallest policy"),
        (
            [*("run", DIGITS, "digits", "--max-macs", "50%"), *GP_OF_5000],
            "choose one that can",
        ),
        (["run", "resnet-20", "digits", "--max-macs", "50%"], "image_size"),
        (["train", "resnet-20"], "DATA"),
        (["serve", "--host", "0.0.0.0"], "AUTOML_COMPRESS_KEY"),
        (["serve", "--port", "70000"], "65535"),
    ],
)
def test_wrong_usage_ends_with_2(
    refusal: Callable[..., str], arguments: list[str], says: str
) -> None:
    assert says in refusal(*arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense", "--json"], "No such command 'nonsense'"),
        (["run", DIGITS, "--json"], "DATA"),
        (["run", DIGITS, "digits", "--max-macs", "150%", "--json"], "50% or 0.5"),
        (["search", DIGITS, "digits", "--json", "--seed", "x"], "--seed"),
        (["jobs", "ls", "--json", "--beauty"], "No such option"),
    ],
)
def test_wrong_usage_is_json_where_that_is_wanted(
    refusal: Callable[..., str], arguments: list[str], says: str
) -> None:
    told = json.loads(refusal(*arguments))["error"]

    assert told["kind"] == "UsageError"
    assert says in told["detail"]


def test_help_ends_with_0_beside_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["automl-compress", "jobs", "ls", "--json", "--help"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert not ended.value.code


def test_run_takes_no_ids_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {}
    for command in ("run", "search"):
        monkeypatch.setattr(sys, "argv", ["automl-compress", command, "--help"])
        with pytest.raises(SystemExit):
            main()
        told[command] = " ".join(capsys.readouterr().out.split())

    assert "A model id" in told["search"]
    assert "A data set id" in told["search"]
    assert "An architecture's name" in told["run"]
    assert "model id" not in told["run"]
    assert "data set id" not in told["run"]


def test_a_run_that_failed_leaves_no_folder_behind(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    for folder in ("new/deep", "there"):
        refusal("run", DIGITS, "digits", "--max-macs", "0.1%", "-o", folder)

    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_process_of_wrong_usage_says_it_without_a_traceback(tmp_path: Path) -> None:
    told = run("run", "resnet-21", "digits", "--max-macs", "50%", cwd=tmp_path)

    assert told.returncode == 2
    assert "resnet-20" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        told = run("serve", "--port", port, "--data-dir", str(tmp_path))

    assert told.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use; choose another with --port" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--database-url", "nonsense"], 2, "'nonsense' is no database URL"),
        (["--database-url", "postgresql://u:p@127.0.0.1:1/x"], 1, "Connection refused"),
        (["--data-dir", "/proc/none"], 1, "the database's directory /proc/none cannot be made"),
    ],
)
def test_serve_tells_no_address_where_its_database_cannot_be_used(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    place = ["--data-dir", str(tmp_path)] if "--data-dir" not in arguments else []

    told = run("serve", "--port", "0", *place, *arguments)

    assert (told.returncode, told.stdout) == (code, "")
    assert says in told.stderr
    assert "Traceback" not in told.stderr


def test_data_of_more_classes_than_the_network_has_are_refused(
    tmp_path: Path, refusal: Callable[..., str]
) -> None:
    twelve = tmp_path / "twelve.npz"
    images = np.zeros((48, 8, 8), np.uint8)
    np.savez(twelve, images=images, labels=np.arange(48) % 12)
    says = "has 12 classes but the network tells 10 apart"

    assert says in refusal(
        "run", DIGITS, str(twelve), "--max-macs", "50%", "-o", str(tmp_path / "x")
    )
    small = ("--config", "in_channels=1", "--config", "image_size=8")
    assert says in refusal("train", "resnet-20", str(twelve), *small, "-o", str(tmp_path / "y"))


def test_without_a_service_commands_end_with_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    told = run("jobs", "ls", url=url)

    assert told.returncode == 3
    assert "automl-compress serve" in told.stderr


def test_a_refusal_ends_with_3_and_is_json_where_that_is_wanted(service: RunningService) -> None:
    plain = run("jobs", "show", "job_0", url=service.url)
    told = run("jobs", "show", "job_0", "--json", url=service.url)

    assert (plain.returncode, told.returncode) == (3, 3)
    assert "error: no job has the id 'job_0'" in plain.stderr
    assert json.loads(told.stderr)["error"]["code"] == "not-found"


def test_a_search_is_submitted_listed_and_cancelled(service: RunningService) -> None:
    search = [DIGITS, "digits", "--max-macs", "50%", "--searcher", "random"]

    submitted = json.loads(run("search", *search, "--json", url=service.url).stdout)
    listed = json.loads(run("jobs", "ls", "--json", url=service.url).stdout)
    table = run("jobs", "ls", url=service.url).stdout
    cancelled = run("jobs", "cancel", submitted["id"], url=service.url)
    waited = run("jobs", "wait", submitted["id"], url=service.url)

    assert submitted["status"] == "queued"
    assert submitted["study"]["budget"] == {"metric": "macs", "ratio": 0.5}
    assert [job["id"] for job in listed] == [submitted["id"]]
    assert "50% macs" in table
    assert cancelled.stdout.strip() == f"{submitted['id']} cancelled"
    assert waited.returncode == 1
    assert "has been cancelled" in waited.stderr


def test_waiting_too_long_ends_with_4(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    job = service.post("/v1/jobs", job_body(model, dataset)).json()

    told = run("jobs", "wait", job["id"], "--timeout", "0.1", url=service.url)

    assert told.returncode == 4
    assert "is still queued after 0.1 s" in told.stderr


@pytest.mark.parametrize("flag", ["--max-macs", "--max-micronet"])
def test_an_unreachable_budget_is_refused_by_the_service(
    service: RunningService, flag: str
) -> None:
    told = run("search", DIGITS, "digits", flag, "0.1%", "--json", url=service.url)

    assert told.returncode == 3
    assert json.loads(told.stderr)["error"]["code"] == "infeasible-budget"


def test_an_option_that_the_searcher_cannot_have_is_said_alike_with_and_without_a_service(
    service: RunningService, tmp_path: Path
) -> None:
    arguments = [DIGITS, "digits", "--max-macs", "50%", "--searcher", "amc"]
    arguments += ["--option", "batch_size=64.5"]

    submitted = run("search", *arguments, url=service.url)
    alone = run("run", *arguments, cwd=tmp_path)

    says = "error: option batch_size of searcher 'amc' is 64.5; it takes an integer"
    assert (submitted.returncode, alone.returncode) == (3, 2)
    assert says in submitted.stderr
    assert says in alone.stderr
    assert not (tmp_path / "compressed").exists()


def test_the_database_is_upgraded_and_checked(tmp_path: Path) -> None:
    place = ["--data-dir", str(tmp_path), "--json"]

    before = run("db", "check", *place)
    upgraded = run("db", "upgrade", *place)
    after = run("db", "check", *place)

    assert before.returncode == 1
    assert (upgraded.returncode, after.returncode) == (0, 0)
    assert json.loads(after.stdout) == {**json.loads(upgraded.stdout), "violations": []}


def test_the_doctor_finds_nothing_wrong(tmp_path: Path) -> None:
    told = run("doctor", "--data-dir", str(tmp_path), "--json")

    findings = {each["name"]: each for each in json.loads(told.stdout)}
    assert told.returncode == 0, told.stdout
    assert {"python", "packages", "database", "disk", "port", "threads"} <= set(findings)


def test_the_doctor_names_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    told = run("doctor", "--database-url", "mysql://nowhere/x")

    assert told.returncode == 1
    assert "sqlite:///" in told.stdout


@pytest.mark.slow
def test_a_small_training_writes_a_network_that_names_itself(tmp_path: Path) -> None:
    output = tmp_path / "small.safetensors"
    config = ["--config", "in_channels=1", "--config", "image_size=8"]

    told = run(
        "train", "resnet-20", "digits", "-o", str(output), "--epochs", "1", *config, "--json"
    )

    report = json.loads(told.stdout)
    assert report["total"] == 397
    assert 0 < report["accuracy"] < 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


@pytest.mark.slow
def test_a_search_that_misses_its_accuracy_floor_ends_with_1_and_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["run", DIGITS, "digits", "--max-macs", "100%", "--searcher", "amc", "--json"]
    search += ["--evaluations", "1", "--option", "profile_share=0", "--accuracy-floor", "100%"]
    monkeypatch.setattr(sys, "argv", ["automl-compress", *search, "-o", str(tmp_path / "out")])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().err)["error"]
    assert told["kind"] == "FloorMissed"
    assert "the most accurate, trial 0, has 0.98" in told["detail"]


@pytest.mark.parametrize(("accuracy", "says"), [(0.9, ": reached"), (0.89, "MISSED")])
def test_whether_an_accuracy_floor_is_reached_is_said(
    capsys: pytest.CaptureFixture[str], accuracy: float, says: str
) -> None:
    print_floor({"policies": [{"search": {"accuracy": accuracy}}]}, 0.9)

    told = capsys.readouterr().out
    assert f"accuracy floor 90.00% on search images, tuned {accuracy:.2%}" in told
    assert says in told


@pytest.mark.slow
def test_a_search_without_a_service_leaves_policy_and_network(tmp_path: Path) -> None:
    arguments = ["--max-macs", "50%", "--searcher", "uniform", "--evaluations", "1"]

    told = run(
        "run", DIGITS, "digits", *arguments, "--finetune-epochs", "0", "-o", str(tmp_path / "out")
    )

    assert told.returncode == 0, told.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert ("network.onnx" in names) == is_installed(*ONNX_PACKAGES)
    assert names - {"network.onnx"} == {
        "card.md", "network.safetensors", "policy.json", "report.json"
    }  # fmt: skip
    document = PolicyDocument.load(tmp_path / "out" / "policy.json")
    assert document.after.macs <= 0.5 * document.before.macs
    assert json.loads((tmp_path / "out" / "report.json").read_text())["search_seconds"] > 0


@pytest.mark.slow
def test_serve_runs_a_worker_and_ends_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "automl_api.cli", "serve", "--port", "0", "--json"]
    server = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        url = json.loads(server.stdout.readline())["url"]
        search = ["--max-macs", "50%", "--searcher", "uniform", "--evaluations", "1"]
        search += ["--finetune-epochs", "0", "--watch"]

        told = run("search", DIGITS, "digits", *search, url=url)

        assert told.returncode == 0, told.stderr
        job_id = told.stdout.split()[0]
        best = run(
            "best",
            job_id,
            "-o",
            str(tmp_path / "policy.json"),
            "--network",
            str(tmp_path / "network.safetensors"),
            url=url,
        )
        assert best.returncode == 0, best.stderr
        assert PolicyDocument.load(tmp_path / "policy.json").policy.choices
        assert (tmp_path / "network.safetensors").stat().st_size > 100_000
        smaller = run("best", job_id, "--max-macs", "10%", url=url)
        assert smaller.returncode == 3
        assert "nothing-fits" in smaller.stderr
    finally:
        workers = children_of(server.pid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        server.stdout.close()
    assert workers
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_a_service_that_is_killed_takes_its_worker_along(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "automl_api.cli", "serve", "--port", "0", "--json"]
    server = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    server.stdout.readline()
    workers = wait_for(lambda: children_of(server.pid))
    time.sleep(3)  # until the worker has set its signal handlers

    server.kill()
    server.wait()
    server.stdout.close()

    assert wait_for(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()])


def children_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in children for child in path.read_text().split()]


def wait_for(condition: Any, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    return condition()
