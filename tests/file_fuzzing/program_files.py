"""Programs (`.pt2`) with something changed, or with a payload planted in them."""

import io
import random
import warnings
from functools import cache
from typing import Any

import torch

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.reading import Program, read_program
from tests.automl_compress.networks.program_file.archives import (
    GRAPH,
    WEIGHTS,
    archive_of,
    members_of,
    small_program,
)
from tests.file_fuzzing.changes import change_bytes, change_document
from tests.file_fuzzing.watching import Changed, Marker, Payload, Subject

SMALL = ProgramLimits(values_each=2**20, values_together=2**22)
LONGEST_REFUSAL = 5000
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63 - 1, -(2**63), 0.5, 1e300, "", "x", "conv2d",
    "as_int", "../x", "\x00", [], [1], [[]], {}, {"as_int": 3}, {"as_tensor": {"name": "x"}},
    {"as_none": True}, {"as_ints": [0, -1]}, {"as_sym_int": {"as_name": "conv2d"}},
    "torch.ops.aten.relu_.default", "torch.ops.aten.cat.default", "torch.ops.aten.view.default",
)  # fmt: skip


def changed_program(rng: random.Random, marker: Marker) -> Changed:
    """Change bytes of the whole file, or one member, which the archive then holds undamaged."""
    content = small_program()
    if rng.random() < 0.2:
        return Changed(change_bytes(content, rng), is_damaged=True)
    members = members_of(content)
    name = rng.choice((GRAPH, GRAPH, GRAPH, WEIGHTS, *members))
    if rng.random() < 0.02:
        members[name] = _saved(marker)
        members[WEIGHTS] = members[WEIGHTS].replace(b'"use_pickle": false', b'"use_pickle": true')
    elif name in (GRAPH, WEIGHTS) and rng.random() < 0.9:
        members[name] = change_document(members[name], rng, (*STRANGE, marker.expression))
    else:
        members[name] = change_bytes(members[name], rng)
    return Changed(archive_of(members))


def judge_program(changed: Changed) -> bool:
    """Read it: whether it was taken.

    Raises:
        AssertionError: it should not have been, or the refusal is none that a person could read.
    """
    try:
        program = read_program(changed.content, SMALL)
    except ModelInvalid as error:
        refusal = str(error)
    else:
        _check_taken(program, changed)
        return True
    assert "\x00" not in refusal
    assert len(refusal) < LONGEST_REFUSAL
    return False


def _check_taken(program: Program, changed: Changed) -> None:
    logits = _logits(program)
    assert len(logits) == 2
    assert not program.module.training
    if changed.is_damaged:  # then by bytes that nothing is read from
        original = _original()
        assert torch.equal(logits, _logits(original))
        kept = original.module.state_dict()
        for name, value in program.module.state_dict().items():
            assert torch.equal(value, kept[name]), name


@cache
def _original() -> Program:
    return read_program(small_program(), SMALL)


def _logits(program: Program) -> torch.Tensor:
    images = torch.linspace(-1, 1, 2 * torch.Size(program.input_shape).numel())
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        return program.module(images.view(2, *program.input_shape))


def _saved(marker: Marker) -> bytes:
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer)
    return buffer.getvalue()


PROGRAMS = Subject("program", changed_program, judge_program)
