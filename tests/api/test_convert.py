"""Pickled state dicts become safetensors on the user's machine, and nothing in them runs."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn
from typer.testing import CliRunner

from automl_api.cli import app
from automl_api.local_convert import convert, without_pickle
from automl_compress.core.errors import ModelInvalid


class Payload:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_state_dict_comes_out_as_it_was(tmp_path: Path, wrapper: str | None) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    network.tied = network[0]
    state: Any = network.state_dict()
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "w.pt")

    done = CliRunner().invoke(app, ["convert", str(tmp_path / "w.pt")])

    assert done.exit_code == 0, done.exception
    written = load_file(tmp_path / "w.safetensors")
    assert OrderedDict(written).keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)


@pytest.mark.parametrize("kind", ["payload", "module", "mixed", "empty", "list", "no archive"])
def test_anything_but_tensors_is_refused_and_does_not_run(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "marker"
    content: Any = {
        "payload": {"w": Payload(marker)},
        "module": nn.Linear(2, 2),
        "mixed": {"w": torch.zeros(2), "epoch": 3},
        "empty": {},
        "list": [torch.zeros(2)],
        "no archive": None,
    }[kind]
    torch.save(content, tmp_path / "w.pt")
    if kind == "no archive":
        (tmp_path / "w.pt").write_bytes(b"hello")

    with pytest.raises(ModelInvalid, match="state dict"):
        convert(tmp_path / "w.pt", tmp_path / "w.safetensors")

    assert not marker.exists()
    assert not (tmp_path / "w.safetensors").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"nowhere\.pt cannot be read"):
        convert(tmp_path / "nowhere.pt", tmp_path / "w.safetensors")


def test_a_pickle_that_is_given_as_weights_is_told_of_convert(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pt")

    told = refusal("models", "push", "resnet-20", "--weights", str(tmp_path / "w.pt"))

    assert "automl-compress convert" in told


@pytest.mark.parametrize("is_archive", [True, False])
def test_the_client_sends_no_pickle(tmp_path: Path, is_archive: bool) -> None:
    state = {"w": torch.arange(6.0).reshape(2, 3)}
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=is_archive)

    with without_pickle(tmp_path / "w.pt") as sent:
        assert sent.name == "w.safetensors"
        assert torch.equal(load_file(sent)["w"], state["w"])

    assert not sent.exists()
    assert not (tmp_path / "w.safetensors").exists()


def test_safetensors_and_programs_are_sent_as_they_are(tmp_path: Path) -> None:
    # Of 256 headers one has a length that begins like a pickle.
    plain = tmp_path / "w.safetensors"
    header = next(n for n in range(400) if len(save({"w" * n: torch.zeros(1)})) % 256 == 128 + 12)
    plain.write_bytes(save({"w" * header: torch.zeros(1)}))
    program = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), program)

    assert plain.read_bytes()[:1] == b"\x80"
    for path in (plain, program):
        with without_pickle(path) as sent:
            assert sent == path
