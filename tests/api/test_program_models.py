"""Networks that come as programs (`.pt2`): registered over HTTP, searched, applied, exported."""

import json
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.store import models as model_rows
from tests.api.conftest import RunningService, problem, write_npz
from tests.api.strangers import TwoOutputs
from tests.api.test_cli import run
from tests.automl_compress.export.conftest import NEEDS_ONNX
from tests.automl_compress.networks.program_file.archives import (
    GRAPH,
    archive_of,
    members_of,
    small_program,
    with_graph,
    with_weight,
)
from tests.automl_compress.networks.program_file.networks import program_of
from tests.automl_compress.networks.program_file.test_hostile_programs import (
    add_node,
    nodes_of,
    payloads,
)

SHAPE = (1, 6, 10)


class Strips(nn.Module):
    """A class that the service has never seen: grey images that are no squares."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 12, 3, stride=2), nn.BatchNorm2d(12), nn.ReLU(inplace=True)),
        )
        self.drop = nn.Dropout(0.1)
        self.classifier = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.drop(self.features(x).mean((2, 3))))


def strips() -> nn.Module:
    torch.manual_seed(0)
    return Strips().eval()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "strips.pt2"
    path.write_bytes(program_of(strips(), SHAPE))
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 4
    images = rng.integers(0, 120, (240, *SHAPE[1:]), dtype=np.uint8)
    for place, label in enumerate(labels):  # a bright column says which class it is
        images[place, :, 2 * label + 1] += 120
    return write_npz(tmp_path_factory.mktemp("images") / "strips.npz", images, labels)


@pytest.fixture(scope="module")
def model(service: RunningService, program: Path) -> dict[str, Any]:
    with service.client() as client:
        return client.create_model(program=program)


def register(service: RunningService, content: bytes, **changes: Any) -> Any:
    uploaded = service.http.post("/v1/files", content=content)
    assert uploaded.status_code in (200, 201), uploaded.text
    body = {"name": "net", "program_file_id": uploaded.json()["id"], **changes}
    return service.post("/v1/models", body)


def count_models(service: RunningService) -> int:
    with service.database.reading() as session:
        return len(model_rows.page(session, limit=200).rows)


def test_a_program_is_told_by_its_content(service: RunningService, program: Path) -> None:
    answer = service.http.post(
        "/v1/files", content=program.read_bytes(), params={"name": "weights.safetensors"}
    )

    assert (answer.json()["format"], answer.json()["purpose"]) == ("pt2", "model")


def test_a_program_is_registered_without_an_architecture(
    service: RunningService, model: dict[str, Any]
) -> None:
    assert model["architecture"] is None
    assert model["program_file_id"].startswith("fil_")
    assert model["name"] == "strips"
    assert model["input_shape"] == list(SHAPE)
    assert model["num_classes"] == 4
    assert [group["name"] for group in model["groups"]] == ["features.0", "features.3"]
    assert {layer["name"] for layer in model["layers"]} >= {"features.0", "classifier"}
    # 3x3x8 on 6x10, 3x3x8x12 on 2x4, 12x4.
    assert model["totals"]["macs"] == 72 * 60 + 864 * 8 + 48
    assert model["fingerprint"]["program"].startswith("sha256:")
    assert service.http.get(f"/v1/models/{model['id']}").json() == model
    listed = service.http.get("/v1/models").json()["data"]
    assert {key: model[key] for key in listed[0]} in listed


def test_of_several_outputs_all_are_told_and_one_is_scored(
    service: RunningService, refusal: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "two.pt2"
    path.write_bytes(program_of(TwoOutputs().eval(), TwoOutputs.input_shape))
    before = count_models(service)

    with service.client() as client:
        first, second = (client.create_model(program=path, output=each) for each in (0, 1))
    pushed = run("models", "push", str(path), "--scored-output", "1", "--url", service.url)
    refused = problem(register(service, path.read_bytes(), output=2), 422, "invalid-model")
    wrong = run("models", "push", str(path), "--scored-output", "2", "--url", service.url)
    chosen = refusal(
        *("search", second["id"], "digits", "--max-macs", "50%", "--scored-output", "0"),
        *("--url", service.url),
    )

    assert first["outputs"] == second["outputs"] == [[4], [5]]
    assert (first["output"], first["num_classes"]) == (0, 4)
    assert (second["output"], second["num_classes"]) == (1, 5)
    assert "outputs of 4, 5; accuracy is that of output 1" in pushed.stdout
    listed = "the network has no output 2; its outputs are: 0 (B, 4), 1 (B, 5)"
    assert listed in refused["detail"]
    assert listed in wrong.stderr
    assert wrong.returncode == 3
    assert "leave --scored-output out" in chosen
    # What was measured of one output is not taken for the other.
    assert first["fingerprint"]["graph"] == second["fingerprint"]["graph"]
    assert (first["fingerprint"]["output"], second["fingerprint"]["output"]) == (0, 1)
    page = service.http.get(f"/models/{second['id']}").text
    assert "4, 5; accuracy is that of output 1" in page
    assert count_models(service) == before + 3


def test_an_architecture_has_outputs_too(service: RunningService) -> None:
    body = {"name": "net", "architecture": {"name": "resnet-20"}, "output": 1}

    answer = problem(service.post("/v1/models", body), 422, "invalid-model")

    assert "no output 1; its one output is 0 (B, 10)" in answer["detail"]


def test_other_weights_can_go_with_a_program(
    service: RunningService, program: Path, model: dict[str, Any], tmp_path: Path
) -> None:
    state = {name: value + 1 for name, value in strips().state_dict().items()}
    save_file(state, tmp_path / "tuned.safetensors")

    with service.client() as client:
        other = client.create_model(program=program, weights=tmp_path / "tuned.safetensors")

    assert other["weights_file_id"] is not None
    assert other["fingerprint"]["graph"] == model["fingerprint"]["graph"]
    assert other["fingerprint"]["weights"] != model["fingerprint"]["weights"]


@pytest.mark.parametrize(
    "changes", [{"program_file_id": None}, {"architecture": {"name": "resnet-20"}}]
)
def test_a_model_is_an_architecture_or_a_program(
    service: RunningService, changes: dict[str, Any]
) -> None:
    answer = problem(register(service, small_program(), **changes), 422, "invalid")

    assert "either an architecture or a program_file_id" in answer["detail"]


def test_weights_are_no_program_and_programs_are_no_weights(
    service: RunningService, program: Path, tmp_path: Path
) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")

    answer = problem(
        register(service, (tmp_path / "x.safetensors").read_bytes()), 422, "invalid-model"
    )
    assert "not pt2" in answer["detail"]

    identity = service.http.post("/v1/files", content=program.read_bytes()).json()["id"]
    body = {"name": "x", "architecture": {"name": "resnet-20"}, "weights_file_id": identity}
    answer = problem(service.post("/v1/models", body), 422, "invalid-model")
    assert "not safetensors" in answer["detail"]


def test_operators_that_are_not_taken_are_told_per_node(service: RunningService) -> None:
    def change(graph: Any) -> None:
        images = ("input", {"as_tensor": {"name": "x"}})
        add_node(graph, "torch.ops.aten.grid_sampler.default", images, output="sampled")
        add_node(graph, "torch.ops.mine.evil.default", images, output="other")

    before = count_models(service)

    answer = problem(register(service, with_graph(change)), 422, "unsupported-operator")

    assert len(answer["errors"]) == 2
    assert answer["errors"][0]["pointer"].startswith("/models/model.json/graph_module/graph/nodes/")
    assert (
        "'sampled' (aten.grid_sampler.default) at net.py, line 7" in (answer["errors"][0]["detail"])
    )
    assert "2 of 10 nodes" in answer["detail"]
    assert count_models(service) == before


def test_hostile_programs_run_nothing_and_cost_the_service_no_memory(
    service: RunningService, tmp_path: Path
) -> None:
    pickled = payloads(tmp_path / "marker")
    members = members_of(small_program())
    hostile = [
        archive_of({**members, GRAPH: pickled["torch.save"]}),
        archive_of({**members, GRAPH: b"[" * 1_000_000}),
        archive_of({**members, "data/weights/weight_0": bytes(200_000_000)}, ZIP_DEFLATED),
        with_weight("conv.weight", use_pickle=True),
        with_graph(nodes_of("relu.default", 10_000)),
    ]
    before, used = count_models(service), getrusage(RUSAGE_SELF).ru_maxrss

    for content in hostile:
        problem(register(service, content), 422, "invalid-model")

    assert getrusage(RUSAGE_SELF).ru_maxrss - used < 200_000  # kilobytes
    assert not (tmp_path / "marker").exists()
    assert count_models(service) == before
    assert register(service, small_program()).status_code == 201  # the next one is served


@pytest.fixture(scope="module")
def compressed(program: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole search on the command line, without a service."""
    folder = tmp_path_factory.mktemp("compressed")
    arguments = [
        *("run", program, images, "-o", folder, "--max-macs", "60%", "--searcher", "random"),
        *("--evaluations", "3", "--finetune-epochs", "1", "--json"),
    ]
    done = run(*map(str, arguments))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_program_is_searched_and_its_policy_names_no_architecture(compressed: Path) -> None:
    document = PolicyDocument.load(compressed / "policy.json")

    assert document.model.architecture is None
    assert document.model.input_shape == SHAPE
    assert document.after.macs <= 0.6 * document.before.macs
    assert document.repair.method == "fine-tuned"


@pytest.mark.slow
def test_the_smaller_weights_load_into_the_class_that_was_exported(
    compressed: Path, program: Path, tmp_path: Path
) -> None:
    policy, network = compressed / "policy.json", compressed / "network.safetensors"
    small = tmp_path / "small.safetensors"
    shown = run(
        *("apply", str(policy), "--weights", str(program), "--tuned", str(network)),
        *("-o", str(small), "--json"),
    )
    assert shown.returncode == 0, shown.stderr
    batch = torch.randn(5, *SHAPE)

    own = apply_policy(strips(), policy, network)  # their class, resized as the policy says

    assert isinstance(own, Strips)
    state = own.state_dict()
    written = load_file(small)
    assert set(written) == set(state)
    assert all(torch.equal(written[name], value) for name, value in state.items())
    with torch.no_grad():
        assert own(batch).shape == (5, 4)
    parameters = sum(each.numel() for each in own.parameters())
    assert parameters == json.loads(shown.stdout)["parameters"]["after"]


@pytest.mark.slow
@NEEDS_ONNX
@pytest.mark.parametrize("suffix", ["pt2", "zip"])  # an ONNX file is in the bundle
def test_a_compressed_program_is_exported(
    compressed: Path, program: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"small.{suffix}"

    done = run(
        *("export", str(compressed / "policy.json"), "-o", str(output), "--json"),
        *("--network", str(compressed / "network.safetensors"), "--weights", str(program)),
    )

    assert done.returncode == 0, done.stderr
    assert output.stat().st_size > 0


@pytest.mark.slow
def test_a_policy_without_architecture_asks_for_the_program(
    refusal: Callable[..., str], compressed: Path, tmp_path: Path
) -> None:
    told = refusal(
        *("export", str(compressed / "policy.json"), "-o", str(tmp_path / "x.onnx")),
        *("--network", str(compressed / "network.safetensors")),
    )

    assert "give the .pt2 file that was compressed as --weights" in told
