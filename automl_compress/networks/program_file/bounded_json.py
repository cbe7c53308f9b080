"""JSON from strangers: bounded in size, numbers and depth, and never ambiguous."""

import json
import math
from typing import Any, NoReturn

from automl_compress.core.errors import ModelInvalid
from automl_compress.core.json_field import JsonField
from automl_compress.networks.program_file.archive import refuse
from automl_compress.networks.program_file.limits import ProgramLimits

_MOST_DIGITS = 20  # of an integer of 64 bits, and its sign


class _Unfit(ValueError):
    """JSON that Python would read, and that this project does not take."""


def parse(content: bytes, name: str, limits: ProgramLimits) -> JsonField:
    """Read a JSON document.

    Args:
        content: in UTF-8.
        name: of the member, for messages.
        limits: how many values it may have.

    Raises:
        ModelInvalid: it is no JSON, nested deeper than Python's stack, has more values than
            allowed, a name twice in one object, or numbers that are not finite or not of 64 bits.
    """
    # Counted before objects are made: an empty array of two bytes becomes one of 56.
    values = sum(content.count(sign) for sign in (b",", b"[", b"{"))
    if values > limits.json_values:
        refuse(
            f"has about {values:,} values in {name!r}, and {limits.json_values:,} are allowed",
            "give a smaller network",
        )
    try:
        document = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError) as error:
        refuse(f"holds no JSON that can be used in {name!r} ({error})")
    return JsonField(document, f"/{name}", ModelInvalid)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unfit("an object has two members of one name")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS or not -(2**63) <= int(digits) < 2**63:
        raise _Unfit(f"the integer {digits[:_MOST_DIGITS]}... has more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Unfit(f"the number {digits[:_MOST_DIGITS]} is not finite")
    return number


def _constant(name: str) -> NoReturn:
    raise _Unfit(f"{name} is no number of JSON")
