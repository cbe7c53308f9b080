"""One spelling of every JSON value (RFC 8785), so that equal contents have equal digests."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

_LARGEST_EXACT = 2**53  # integers beyond it are not the same number in every JSON reader


def canonical_json(value: Any) -> str:
    """Write a JSON value in its canonical form.

    Args:
        value: None, bool, int, float, str, or lists and string-keyed mappings of these.

    Raises:
        ValueError: a number is not finite, or an integer is beyond 2**53.
        TypeError: a value has no JSON form.

    Source: RFC 8785, section 3.2: no white space, keys ordered by UTF-16 code units, numbers
    as ECMAScript writes them.
    """
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, Mapping):
        return _object(cast("Mapping[Any, Any]", value))
    if isinstance(value, Sequence):
        return "[" + ",".join(canonical_json(each) for each in cast("Sequence[Any]", value)) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form; give plain JSON values")


def digest(value: Any) -> str:
    """Return `sha256:...` over the canonical form of a JSON value."""
    return "sha256:" + hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _object(value: Mapping[Any, Any]) -> str:
    wrong = [key for key in value if not isinstance(key, str)]
    if wrong:
        raise TypeError(f"the key {wrong[0]!r} has no JSON form; give strings as keys")
    keys: list[str] = sorted(value, key=lambda key: key.encode("utf-16-be"))
    parts = (f"{json.dumps(key, ensure_ascii=False)}:{canonical_json(value[key])}" for key in keys)
    return "{" + ",".join(parts) + "}"


def _number(value: int | float) -> str:
    if isinstance(value, int):
        if abs(value) > _LARGEST_EXACT:
            raise ValueError(f"the integer {value} is beyond 2**53; write it as a string")
        return str(value)
    if not math.isfinite(value):
        raise ValueError(f"{value!r} has no JSON form; numbers must be finite")
    return _ecmascript(value)


def _ecmascript(value: float) -> str:
    """Spell a float as ECMAScript's Number::toString does (RFC 8785, section 3.2.2.3)."""
    if value == 0:
        return "0"  # also for -0.0
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)  # the decimal point stands before this digit
    if 0 < point <= 21:
        body = text + "0" * (point - len(text))
        if len(text) > point:
            body = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        body = "0." + "0" * -point + text
    else:
        mantissa = text if len(text) == 1 else f"{text[0]}.{text[1:]}"
        body = f"{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return ("-" if sign else "") + body
