"""Program files taken apart and put together again, with whatever in them."""

import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from tests.automl_compress.networks.program_file.networks import program_of

ROOT = "archive"
GRAPH, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
SHAPE = (2, 6, 6)


class Small(nn.Module):
    """One of each: convolution, norm, pooling, a constant, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)) * torch.tensor([0.5]))
        return self.linear(x.mean((2, 3)))


@cache
def small_program() -> bytes:
    torch.manual_seed(0)
    return program_of(Small().eval(), SHAPE)


def members_of(content: bytes) -> dict[str, bytes]:
    """The members by their names below the root."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def archive_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{ROOT}/{name}", content)
    return buffer.getvalue()


def with_member(name: str, content: bytes) -> bytes:
    """The small program with one member added or replaced."""
    return archive_of({**members_of(small_program()), name: content})


def with_json(name: str, change: Callable[[Any], object]) -> bytes:
    """The small program with one of its documents changed in place."""
    members = members_of(small_program())
    document = json.loads(members[name])
    change(document)
    return archive_of({**members, name: json.dumps(document).encode()})


def with_graph(change: Callable[[Any], object]) -> bytes:
    """The small program with its graph changed in place."""
    return with_json(GRAPH, lambda document: change(document["graph_module"]["graph"]))


def with_weight(name: str, **changes: Any) -> bytes:
    """The small program with another description of one weight."""

    def change(document: Any) -> None:
        entry = document["config"][name]
        for key, value in changes.items():
            (entry if key in entry else entry["tensor_meta"])[key] = value

    return with_json(WEIGHTS, change)
