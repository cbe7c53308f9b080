"""Changes at random to bytes and to JSON documents."""

import copy
import json
import random
from collections.abc import Sequence
from typing import Any


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Replace, or now and then remove, some bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        place = rng.randrange(len(changed) or 1)
        if rng.random() < 0.3:
            del changed[place : place + rng.randrange(1, 64)]
        elif changed:
            changed[place % len(changed)] = rng.randrange(256)
    return bytes(changed)


def change_document(content: bytes, rng: random.Random, strange: Sequence[Any]) -> bytes:
    """Replace, repeat or remove some values; new ones are `strange`, or from elsewhere in it."""
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = _places_of(document) if isinstance(document, (dict, list)) else []
        if not places:
            break
        (container, key), kind = rng.choice(places), rng.random()
        if kind < 0.6:
            container[key] = copy.deepcopy(rng.choice(strange))
        elif kind < 0.75:
            container[key] = copy.deepcopy(rng.choice(places)[0])
        elif isinstance(container, list):
            container.insert(key, container[rng.randrange(len(container))])
        else:
            del container[key]
    return json.dumps(document).encode()


def _places_of(document: Any) -> list[tuple[Any, Any]]:
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
