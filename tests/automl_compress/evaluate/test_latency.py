import os
import signal
from pathlib import Path
from typing import get_args

import pytest
from torch import nn

from automl_compress.core.errors import InvalidInput, ModelInvalid, UnknownName
from automl_compress.evaluate import latency
from automl_compress.evaluate.latency import LatencyPlan, measure_latency
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.targets import Target
from tests.automl_compress.export.conftest import NEEDS_ONNX, NEEDS_OPENVINO

QUICK = LatencyPlan(seconds=0.1)
TARGETS = [
    pytest.param("cpu-onnxruntime", marks=NEEDS_ONNX),
    pytest.param("cpu-openvino", marks=NEEDS_OPENVINO),
]


def convolutions(count: int) -> nn.Module:
    layers = [nn.Conv2d(32, 32, 3, padding=1) for _ in range(count)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two convolutions, and ten of them."""
    folder = tmp_path_factory.mktemp("files")
    paths = folder / "two.onnx", folder / "ten.onnx"
    for path, count in zip(paths, (2, 10), strict=True):
        path.write_bytes(onnx_bytes(convolutions(count), (32, 16, 16)))
    return paths


@pytest.mark.parametrize("target", TARGETS)
def test_a_network_of_five_times_the_layers_is_much_slower(
    files: tuple[Path, Path], target: Target
) -> None:
    two, ten = files

    found = measure_latency(two, target, reference=ten, plan=QUICK)

    assert 2 < found.speedup < 8  # a call has a price of its own
    assert found.cpu_ms < found.reference_cpu_ms
    assert found.ratio == pytest.approx(found.cpu_ms / found.reference_cpu_ms, rel=0.2)
    assert found.wall_ms > 0.5 * found.cpu_ms
    assert len(found.blocks) == 10
    assert found.spread >= 0
    content = found.to_json()
    assert (content["target"], content["threads"]) == (target, 1)
    assert content["plan"] == {"batch": 1, "seconds": 0.1, "seed": 0}


@pytest.mark.parametrize("target", TARGETS)
def test_a_network_is_as_fast_as_itself(files: tuple[Path, Path], target: Target) -> None:
    found = measure_latency(files[1], target, plan=QUICK)

    assert found.ratio == pytest.approx(1, abs=0.15)


@NEEDS_ONNX
def test_a_batch_takes_longer_than_one_image(files: tuple[Path, Path]) -> None:
    one, batch = (
        measure_latency(files[0], "cpu-onnxruntime", plan=LatencyPlan(size, 0.1))
        for size in (1, 16)
    )

    assert 4 * one.cpu_ms < batch.cpu_ms


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no latency target is called 'tpu'"):
        measure_latency(tmp_path / "a.onnx", "tpu")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="there is no file"):
        measure_latency(tmp_path / "a.onnx", "cpu-openvino")
    with pytest.raises(InvalidInput, match="batch of at least 1"):
        LatencyPlan(batch=0)
    assert set(get_args(Target)) == set(latency.TARGETS)


@NEEDS_ONNX
def test_a_file_that_no_engine_reads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a network")

    with pytest.raises(ModelInvalid, match="cannot run this network"):
        measure_latency(path, "cpu-onnxruntime", plan=QUICK)


def crash(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_engine_that_crashes_takes_nobody_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "any.onnx"
    path.write_bytes(b"")
    monkeypatch.setattr(latency, "_measure", crash)

    with pytest.raises(ModelInvalid, match="ended without a result"):
        measure_latency(path, "cpu-onnxruntime", plan=QUICK)
