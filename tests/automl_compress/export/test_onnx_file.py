import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput, ModelInvalid
from automl_compress.export import engines
from automl_compress.export.agreement import BATCHES, TOLERANCE, check_agreement
from automl_compress.export.onnx_file import export_program, onnx_bytes
from automl_compress.export.sessions import onnxruntime_session
from automl_compress.export.subject import Subject
from automl_compress.networks.architectures import architecture, build_network
from tests.automl_compress.export.conftest import NEEDS_ONNX
from tests.conftest import ROOT

ENGINE = ("engine", "1")


@NEEDS_ONNX
def test_one_file_serves_every_batch_size_and_agrees_with_torch(subject: Subject) -> None:
    content, agreement = subject.checked_onnx.content, subject.checked_onnx.agreement

    import onnx as onnx_package

    model = onnx_package.load_from_string(content)
    (images,), (logits,) = model.graph.input, model.graph.output
    shapes = [
        [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (images, logits)
    ]
    assert (images.name, logits.name) == ("images", "logits")
    assert shapes == [["batch", 3, 32, 32], ["batch", 10]]
    assert agreement.batches == (1, 7, 32)
    assert agreement.difference < 1e-5
    notes = {each.key: each.value for each in model.metadata_props}
    assert notes["policy"] == subject.document.digest


@NEEDS_ONNX
def test_the_file_holds_the_cut_network_and_little_else(subject: Subject, onnx: bytes) -> None:
    content = onnx

    floats = subject.document.after.size_bytes
    assert len(content) < 1.02 * floats
    assert str(ROOT).encode() not in content
    assert b".py" not in content  # traces of source files


@NEEDS_ONNX
def test_equal_networks_give_equal_bytes(subject: Subject, onnx: bytes) -> None:
    assert replace(subject).onnx == onnx


@NEEDS_ONNX
@pytest.mark.parametrize("name", ["lenet-5", "squeezenet"])
def test_networks_of_other_kinds_agree_too(name: str) -> None:
    offer = architecture(name)
    shape, module = offer.input_shape(offer.configure()), build_network(name).eval()

    session = onnxruntime_session(onnx_bytes(module, shape))

    assert check_agreement(ENGINE, session.run, module, shape).difference < 1e-5


@NEEDS_ONNX
def test_threads_may_export_side_by_side() -> None:
    module = build_network("lenet-5").eval()
    alone, found = onnx_bytes(module, (1, 28, 28)), []
    threads = [
        threading.Thread(target=lambda: found.append(onnx_bytes(module, (1, 28, 28))))
        for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [alone] * 3


class Decomposition(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.linalg.svd(images.flatten(1))[1]


@NEEDS_ONNX
def test_an_operator_without_onnx_form_is_named() -> None:
    with pytest.raises(ModelInvalid, match=r"cannot be written for ONNX.*svd"):
        onnx_bytes(Decomposition().eval(), (3, 8, 8))


class FixedBatch(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(2, 192).sum(1)


def test_a_network_of_one_batch_size_is_refused() -> None:
    with pytest.raises(ModelInvalid, match=r"cannot be written for torch\.export"):
        export_program(FixedBatch().eval(), (3, 8, 8))


def test_a_package_that_is_missing_is_named_with_its_remedy(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)

    with pytest.raises(InvalidInput, match=r"ONNX file needs .* onnx.*automl-compress\[engines\]"):
        _ = replace(subject).onnx
    assert not engines.is_installed("no_such_engine")


def scaled(module: nn.Module, factor: float) -> object:
    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy() * factor

    return run


@pytest.mark.parametrize("factor", [1 + 2 * TOLERANCE, float("nan")])
def test_a_file_that_computes_something_else_is_refused(factor: float) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()

    with pytest.raises(ModelInvalid, match="not kept"):
        check_agreement(ENGINE, scaled(module, factor), module, (3, 2, 2))  # type: ignore[arg-type]


def test_an_engine_that_fails_on_a_batch_size_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()

    def run(images: np.ndarray) -> np.ndarray:
        if len(images) == BATCHES[1]:
            raise RuntimeError("no such batch")
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()

    with pytest.raises(ModelInvalid, match="fails on a batch of 7: no such batch"):
        check_agreement(ENGINE, run, module, (3, 2, 2))
