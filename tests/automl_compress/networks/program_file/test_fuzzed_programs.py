"""Programs with something changed at random: read as they are, or refused; never anything else.

`AUTOML_COMPRESS_FUZZ` says how many files are made, 300 unless set; the long form is 100,000.
"""

import copy
import json
import os
import random
from typing import Any

import pytest
import torch

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.reading import read_program
from tests.automl_compress.networks.program_file.archives import (
    GRAPH,
    SHAPE,
    WEIGHTS,
    archive_of,
    members_of,
    small_program,
)

FILES = int(os.environ.get("AUTOML_COMPRESS_FUZZ", "300"))
PARTS = 4
SMALL = ProgramLimits(values_each=2**20, values_together=2**22)
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63 - 1, -(2**63), 0.5, 1e300, "", "x", "conv2d",
    "as_int", "../x", "\x00", [], [1], [[]], {}, {"as_int": 3}, {"as_tensor": {"name": "x"}},
    {"as_none": True}, {"as_ints": [0, -1]}, {"as_sym_int": {"as_name": "conv2d"}},
    "torch.ops.aten.relu_.default", "torch.ops.aten.cat.default", "torch.ops.aten.view.default",
)  # fmt: skip


def places_of(document: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    stack, found = [document], []
    while stack:
        container = stack.pop()
        keys = container if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                stack.append(container[key])
    return found


def change_document(content: bytes, rng: random.Random) -> bytes:
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = places_of(document) if isinstance(document, (dict, list)) else []
        if not places:
            break
        (container, key), kind = rng.choice(places), rng.random()
        if kind < 0.6:
            container[key] = rng.choice(STRANGE)
        elif kind < 0.75:
            container[key] = copy.deepcopy(rng.choice(places)[0])
        elif isinstance(container, list):
            container.insert(key, container[rng.randrange(len(container))])
        else:
            del container[key]
    return json.dumps(document).encode()


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        place = rng.randrange(len(changed) or 1)
        if rng.random() < 0.3:
            del changed[place : place + rng.randrange(1, 64)]
        elif changed:
            changed[place % len(changed)] = rng.randrange(256)
    return bytes(changed)


def changed_file(rng: random.Random) -> bytes:
    content = small_program()
    if rng.random() < 0.2:
        return change_bytes(content, rng)
    members = members_of(content)
    name = rng.choice((GRAPH, GRAPH, GRAPH, WEIGHTS, *members))
    change = change_document if name in (GRAPH, WEIGHTS) and rng.random() < 0.9 else change_bytes
    return archive_of({**members, name: change(members[name], rng)})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_file_changed_at_random_is_read_or_refused(part: int) -> None:
    taken, refusals = 0, list[str]()
    for seed in range(part, FILES, PARTS):
        try:
            program = read_program(changed_file(random.Random(seed)), SMALL)
        except ModelInvalid as error:
            refusals.append(str(error))
            continue
        except Exception as error:
            raise AssertionError(f"file {seed} gave {error!r}") from error
        with torch.no_grad():
            logits = program.module(torch.zeros(2, *program.input_shape))
        assert len(logits) == 2, seed
        assert program.input_shape == SHAPE or program.module.state_dict(), seed
        taken += 1
    assert taken  # both happen
    assert refusals
    assert not [each for each in refusals if "\x00" in each or len(each) > 5000]
