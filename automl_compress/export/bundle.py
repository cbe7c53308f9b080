"""A zip that runs a compressed network on a machine that knows nothing of this project."""

import copy
import io
import json
import zipfile
from importlib.resources import files

import numpy as np
import torch
from torch import nn

from automl_compress.export.agreement import random_images, tolerance_of
from automl_compress.export.card import model_card
from automl_compress.export.documents import network_bytes
from automl_compress.export.onnx_file import onnx_bytes
from automl_compress.export.subject import Subject

_SCRIPTS = files("automl_compress.export")
_EXAMPLES = 8
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that the format can say: equal networks, equal bytes


def bundle_bytes(subject: Subject) -> bytes:
    """Return the zip: policy, weights, ONNX file, report, example, and `run.py`.

    `run.py` needs numpy and onnxruntime alone; it repeats the outputs of `example.npz`. Where the
    uncut network is at hand, an ONNX file of it is added, whose time `compare.py` compares: its
    weights are zeros, which take the same time, and next to no room in a zip. The report is the
    search's where the subject has it, and in any case the model card.

    Raises:
        InvalidInput: a package of the extra `[engines]` is missing.
        ModelInvalid: the network cannot be written as ONNX, or ONNX Runtime computes something
            else.
    """
    document = json.dumps(subject.document.to_json(), indent=1, allow_nan=False) + "\n"
    contents = {
        "README.md": (model_card(subject.document, is_bundle=True)).encode(),
        "policy.json": document.encode(),
        "network.safetensors": network_bytes(subject.module),
        "network.onnx": subject.checked_onnx.content,
        "example.npz": _example(subject),
        "run.py": (_SCRIPTS / "run_onnx.py").read_bytes(),
    }
    if subject.report is not None:
        contents["report.html"] = subject.report
    if subject.uncut is not None:
        contents["uncut.onnx"] = onnx_bytes(_of_zeros(subject.uncut), subject.input_shape)
        contents["compare.py"] = (_SCRIPTS / "compare_onnx.py").read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.external_attr = 0o644 << 16
            bundle.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _of_zeros(uncut: nn.Module) -> nn.Module:
    empty = copy.deepcopy(uncut).eval()
    with torch.no_grad():
        for tensor in empty.parameters():
            tensor.zero_()
    return empty


def _example(subject: Subject) -> bytes:
    images = random_images(_EXAMPLES, subject.input_shape)
    with torch.no_grad():
        logits = subject.module(images)
    buffer = io.BytesIO()
    tolerance = tolerance_of(subject.module)
    np.savez(buffer, images=images.numpy(), logits=logits.numpy(), tolerance=tolerance)
    return buffer.getvalue()
