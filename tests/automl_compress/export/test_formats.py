import hashlib
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import (
    InvalidInput,
    ModelInvalid,
    PolicyInvalid,
    StorageFailed,
    UnknownName,
)
from automl_compress.data.datasets import Normalisation
from automl_compress.evaluate.latency import LatencyPlan, measure_latency
from automl_compress.export import formats
from automl_compress.export.agreement import Agreement, random_images
from automl_compress.export.card import model_card
from automl_compress.export.formats import FORMATS, export_network, format_of
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.sessions import INPUT, onnxruntime_session, openvino_session
from automl_compress.export.subject import Subject
from automl_compress.networks.program_file.reading import read_program
from tests.automl_compress.export.conftest import NEEDS_ONNX, NEEDS_OPENVINO
from tests.automl_compress.export.test_documents import uncut
from tests.conftest import ROOT


def outputs(subject: Subject, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return subject.module(images).numpy()


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@NEEDS_ONNX
def test_an_onnx_file_is_written(subject: Subject, tmp_path: Path) -> None:
    written = export_network(subject.module, subject.document, tmp_path / "small.onnx")

    assert names(tmp_path) == ["small.onnx"]
    images = random_images(3, subject.input_shape)
    found = onnxruntime_session((tmp_path / "small.onnx").read_bytes()).run(images.numpy())
    assert np.allclose(found, outputs(subject, images), atol=1e-5)
    assert written.agreement is not None
    assert written.to_json()["agreement"]["engine"] == "onnxruntime"
    assert written.to_json()["size_bytes"] == (tmp_path / "small.onnx").stat().st_size


@NEEDS_OPENVINO
def test_an_openvino_file_lies_beside_its_weights(subject: Subject, tmp_path: Path) -> None:
    written = export_network(subject.module, subject.document, tmp_path / "small.xml", "openvino")

    assert names(tmp_path) == ["small.bin", "small.xml"]
    assert written.files[-1] == tmp_path / "small.xml"
    images = random_images(3, subject.input_shape)
    found = openvino_session(tmp_path / "small.xml").run(images.numpy())
    assert np.allclose(found, outputs(subject, images), atol=1e-5)


def test_a_program_of_torch_is_written(subject: Subject, tmp_path: Path) -> None:
    written = export_network(subject.module, subject.document, tmp_path / "small.pt2")

    assert written.agreement is not None
    assert (written.agreement.engine, written.agreement.difference) == ("torch", 0.0)
    assert str(ROOT).encode() not in (tmp_path / "small.pt2").read_bytes()
    program = torch.export.load(tmp_path / "small.pt2")  # noqa: TID251 - ours
    assert program.graph_signature.user_inputs == (INPUT,), "called as in an ONNX file"
    images = random_images(3, subject.input_shape)
    assert np.array_equal(program.module()(images).detach().numpy(), outputs(subject, images))
    assert read_program(tmp_path / "small.pt2").input_shape == subject.input_shape


def test_safetensors_come_with_a_card_and_are_the_documents_own(
    subject: Subject, tmp_path: Path
) -> None:
    written = export_network(subject.module, subject.document, tmp_path / "small.safetensors")

    assert names(tmp_path) == ["small.md", "small.safetensors"]
    assert written.agreement is None
    digest = hashlib.sha256((tmp_path / "small.safetensors").read_bytes()).hexdigest()
    assert subject.document.repair.weights_sha256 == f"sha256:{digest}"


@NEEDS_ONNX
def test_a_bundle_runs_without_this_project_and_without_torch(
    subject: Subject, tmp_path: Path
) -> None:
    small = tmp_path / "small.zip"
    export_network(subject.module, subject.document, small, uncut=uncut("resnet-20"))
    with zipfile.ZipFile(small) as bundle:
        assert bundle.getinfo("uncut.onnx").compress_size < 50_000
        bundle.extractall(tmp_path / "bundle")
    folder = tmp_path / "bundle"
    scripts = [(folder / name).read_text() for name in ("run.py", "compare.py")]
    images = random_images(3, subject.input_shape)
    np.save(tmp_path / "images.npy", images.numpy())
    program = (
        "import runpy, sys; "
        "sys.modules.update(dict.fromkeys(('torch', 'automl_compress', 'onnx', 'openvino'))); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )

    def run(name: str, *arguments: Path) -> str:
        command = [sys.executable, "-c", program, str(folder / name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "differs from torch by" in run("run.py")
    assert float(run("compare.py").split()[1]) > 0
    found = run("run.py", tmp_path / "images.npy").split(":")[1].split()
    assert found == [str(each) for each in outputs(subject, images).argmax(1)]
    for script in scripts:
        assert "automl" not in script
        code = script.split('"""')[2]
        assert len([line for line in code.splitlines() if line.strip()]) <= 20


@NEEDS_ONNX
def test_a_bundle_applies_in_torch_too(subject: Subject, tmp_path: Path) -> None:
    export_network(subject.module, subject.document, tmp_path / "small.zip")
    with zipfile.ZipFile(tmp_path / "small.zip") as bundle:
        bundle.extractall(tmp_path)

    document = PolicyDocument.load(tmp_path / "policy.json")
    applied = apply_policy(uncut("resnet-20"), document, tmp_path / "network.safetensors")

    images = random_images(3, subject.input_shape)
    with torch.no_grad():
        assert np.array_equal(applied(images).numpy(), outputs(subject, images))
    assert (tmp_path / "README.md").read_text() == model_card(document, is_bundle=True)
    assert not (tmp_path / "report.html").exists(), "no job, no search to tell of"


def test_a_card_tells_costs_accuracy_and_what_was_cut(subject: Subject) -> None:
    document = subject.document

    card = model_card(document)

    kept = f"{document.after.macs / document.before.macs:.1%}"
    assert f"| MACs | {document.before.macs:,} | {document.after.macs:,} | {kept} |" in card
    assert "| compressed, confirmed | 50.00% | 23.7% to 76.3% of 10 | test: x |" in card
    assert all(
        f"`{row.name}` | {row.channels} | {len(row.kept)}" in card for row in document.groups
    )
    assert document.digest in card
    assert "run.py" not in card
    assert "latency" not in card
    timed = replace(
        document,
        before=replace(document.before, latency_ns=2000),
        after=replace(document.after, latency_ns=1500),
    )
    predicted = model_card(timed)
    assert "| latency of a call in ns, predicted | 2,000 | 1,500 | 75.0% |" in predicted
    assert "the finished network was not run there" in predicted


@NEEDS_ONNX
def test_a_card_tells_the_measured_latency_and_how_it_was_measured(
    subject: Subject, tmp_path: Path
) -> None:
    path, reference = tmp_path / "small.onnx", tmp_path / "uncut.onnx"
    path.write_bytes(subject.onnx)
    reference.write_bytes(onnx_bytes(uncut("resnet-20"), subject.input_shape))
    found = measure_latency(path, "cpu-onnxruntime", reference, LatencyPlan(batch=2, seconds=0.05))
    document = replace(subject.document, latency=found.to_json())

    card = model_card(PolicyDocument.from_json(json.loads(json.dumps(document.to_json()))))

    assert (
        f"| cpu-onnxruntime, batch 2 | {found.reference_cpu_ms:.3f} | {found.cpu_ms:.3f} | "
        f"{found.ratio:.1%} | {found.spread:.1%} |"
    ) in card
    assert f"{found.speedup:.2f} times as fast as the uncut network" in card
    assert "one call of 2 images on\n1 thread, in turns with" in card
    assert f"the median of {found.rounds} turns" in card
    assert f"Engine\n{found.engine_version} on {found.processor}." in card
    assert "was not run there" not in card


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ratio", 0, "/latency/ratio: is 0; give a number above 0"),
        ("load", None, "/latency/load: is NoneType 'None'; give a number"),
        ("rounds", 0, "/latency/rounds: is 0; give an integer of at least 1"),
        ("processor", 7, "/latency/processor: is int '7'; give a string"),
    ],
)
def test_a_latency_that_a_card_cannot_tell_is_refused(
    subject: Subject, name: str, value: object, message: str
) -> None:
    whole = {"target": "cpu-openvino", "engine_version": "1", "processor": "x", "threads": 1}
    whole |= {"plan": {"batch": 1}, "cpu_ms": 1.0, "reference_cpu_ms": 2.0, "wall_ms": 1.0}
    whole |= {"ratio": 0.5, "spread": 0.01, "rounds": 20, "load": 0.5}
    PolicyDocument.from_json(replace(subject.document, latency=whole).to_json())

    with pytest.raises(PolicyInvalid, match=re.escape(message)):
        PolicyDocument.from_json(
            replace(subject.document, latency={**whole, name: value}).to_json()
        )


def test_a_card_tells_how_inputs_are_normalised_and_where_its_files_are(subject: Subject) -> None:
    told = Normalisation((0.25, 0.5), (0.125, 1.0)).to_json()
    document = replace(subject.document, provenance={"normalisation": told})
    document = replace(document, model=replace(document.model, architecture="resnet-20"))

    card = model_card(document)

    formula = "values of 0 to 255 divided by 255, less [0.25, 0.5], divided by [0.125, 1.0]"
    assert f"- Inputs are normalised channel by channel: {formula}." in card
    assert "`automl-compress best JOB -o policy.json --network network.safetensors`" in card
    assert "Both files lie beside this page." in model_card(document, is_bundle=True)
    for strange in ({}, {"normalisation": 7}, {"normalisation": {"mean": [1]}}):
        untold = model_card(replace(document, provenance=strange))
        assert "- Inputs must be normalised as for the uncut network." in untold


def test_a_file_that_exists_is_replaced_by_wish_alone(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "small.md").write_text("mine")

    with pytest.raises(InvalidInput, match=r"small\.md exists already"):
        export_network(subject.module, subject.document, tmp_path / "small.safetensors")
    assert names(tmp_path) == ["small.md"]

    export_network(subject.module, subject.document, tmp_path / "small.safetensors", replaces=True)
    assert (tmp_path / "small.md").read_text().startswith("# resnet-20")


def test_a_network_that_disagrees_leaves_no_file(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> tuple[bytes, Agreement]:
        raise ModelInvalid("differs")

    monkeypatch.setattr(formats, "program_bytes", refuse)

    with pytest.raises(ModelInvalid):
        export_network(subject.module, subject.document, tmp_path / "small.pt2")
    assert names(tmp_path) == []


def test_a_folder_that_is_not_there_is_said(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="cannot be written"):
        export_network(subject.module, subject.document, tmp_path / "no" / "small.safetensors")


def test_the_suffix_says_the_format() -> None:
    suffixes = {".safetensors", ".onnx", ".xml", ".pt2", ".zip"}

    assert {format_of(Path(f"a{suffix}")) for suffix in suffixes} == set(FORMATS)
    with pytest.raises(InvalidInput, match=r"'\.txt'; allowed here: .*\.onnx \(onnx\)"):
        format_of(Path("a.txt"))
    with pytest.raises(InvalidInput, match=r"allowed here: \.xml \(openvino\)"):
        format_of(Path("a.onnx"), "openvino")
    with pytest.raises(UnknownName, match="no format is called 'tflite'"):
        format_of(Path("a.onnx"), "tflite")
