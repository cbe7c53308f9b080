"""Networks that nobody here knows, by the README's own code: upload, search, download, load."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from automl_compress.compress.apply import apply_policy
from automl_compress.core.document import PolicyDocument
from automl_compress.networks.outputs import every_output
from automl_compress.networks.program_file.reading import read_program
from tests.api.strangers import STRANGERS

ROOT = Path(__file__).resolve().parents[3]
CLASSES, IMAGES = 4, 60
# What the README's search would take an hour for, and more patience with a busy machine.
SMALLER = {
    "Client()": "Client(timeout_seconds=300)",
    '"searcher": "auto"': '"searcher": "random"',
    '"effort": {"evaluations": 200}': (
        '"effort": {"evaluations": 2}, "recipe": {"repair": "none"}, '
        '"confirmation": {"top_k": 1, "finetune_epochs": 1, "formats": []}'
    ),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One service with its worker for all of them, as its users start it."""
    told = {"AUTOML_COMPRESS_EVALUATION_PROCESSES": "1", "AUTOML_COMPRESS_POLL_SECONDS": "0.1"}
    command = [sys.executable, "-m", "automl_api.cli", "serve", "--no-auth", "--port", "0"]
    command += ["--json", "--data-dir", str(tmp_path_factory.mktemp("service"))]
    with subprocess.Popen(command, env=os.environ | told, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(30)


def readme_code() -> str:
    section = (ROOT / "README.md").read_text().partition("## Your own network")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    for large, small in SMALLER.items():
        assert large in code
        code = code.replace(large, small)
    return code


def resized(network: Any, policy: PolicyDocument) -> torch.nn.Module:
    """The class itself, as wide as the policy says, with the downloaded weights."""
    outputs = {cut.tensor: len(cut.kept) for cut in policy.cuts if cut.axis == 0}
    widths = {name.removesuffix(".weight"): count for name, count in outputs.items()}
    arguments = network.__init__.__code__.co_varnames[1 : network.__init__.__code__.co_argcount]
    return network(**{name: widths[name] for name in arguments if name in widths}).eval()


def alike(found: Iterable[torch.Tensor], expected: Iterable[torch.Tensor]) -> list[bool]:
    return [torch.equal(one, other) for one, other in zip(found, expected, strict=True)]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("name", STRANGERS)
def test_the_smaller_weights_load_into_the_class_they_came_from(
    service: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOML_COMPRESS_URL", service)
    rng, stranger = np.random.default_rng(0), STRANGERS[name]
    shape, code = stranger.input_shape, readme_code()
    if len(shape) == 2:
        code = code.replace("images=images", "signals=images")
    images = rng.integers(0, 256, (IMAGES, *shape), dtype=np.uint8)
    told = {"images": images, "labels": np.arange(IMAGES) % CLASSES, "Network": stranger}
    told |= {"network": stranger(), "input_shape": shape}

    exec(code, told)  # noqa: S102 - the README's

    policy = PolicyDocument.load("policy.json")
    again = resized(stranger, policy)
    again.load_state_dict(load_file("small.safetensors"))
    program = apply_policy(read_program(Path("network.pt2")).module, policy, "small.safetensors")
    batch = torch.randn(7, *shape)
    with torch.inference_mode():
        logits, *others = outputs = every_output(told["small"], batch)
        assert logits.shape == (7, CLASSES)
        assert len(others) == (name == "TwoOutputs")
        for small in (again, program):
            assert alike(every_output(small, batch), outputs) == [True] * len(outputs)
        assert not any(alike(every_output(told["network"].eval(), batch), outputs))
    assert policy.model.output == (0 if others else None)
    sizes = [sum(each.numel() for each in one.parameters()) for one in (again, told["network"])]
    assert sizes[0] < sizes[1]
