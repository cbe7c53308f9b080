"""Reads a searcher's options from a request into its configuration."""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from automl_compress.core.errors import InvalidInput

Config = TypeVar("Config")
LARGEST_INTEGER = 1_000_000  # no count of a search is larger, and no request may exhaust a worker


def options_of(config: Any) -> dict[str, Any]:
    """Return the fields of a configuration and their values."""
    return {each.name: getattr(config, each.name) for each in dataclasses.fields(config)}


def read_options(searcher: str, defaults: Config, options: Mapping[str, Any]) -> Config:
    """Return the configuration `defaults` with the fields that the options name replaced.

    Args:
        searcher: whose options these are, for the messages.
        defaults: a frozen dataclass of booleans, numbers, strings, None, and tuples of integers or
            of strings.
        options: as they came from JSON.

    Raises:
        InvalidInput: an option is unknown, or has a value of another type or an enormous one.
    """
    allowed = [each.name for each in dataclasses.fields(defaults)]  # type: ignore[arg-type]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        choices = f"it has: {', '.join(allowed)}" if allowed else "it has none"
        raise InvalidInput(
            f"searcher {searcher!r} has no option {', '.join(unknown)}; {choices}; "
            "leave out what is not among them"
        )
    hints = get_type_hints(type(defaults))
    values = {name: _read(searcher, name, value, hints[name]) for name, value in options.items()}
    for name, value in values.items():
        if type(value) is int and value > LARGEST_INTEGER:
            raise InvalidInput(
                f"option {name} of searcher {searcher!r} is {value:,}; "
                f"give {LARGEST_INTEGER:,} at most"
            )
    return dataclasses.replace(defaults, **values)  # type: ignore[type-var]


def words_of(config: Any) -> dict[str, str]:
    """Return the fields of a configuration and, in words, which values each takes."""
    hints = get_type_hints(type(config))
    return {each.name: accepted(hints[each.name]) for each in dataclasses.fields(config)}


def accepted(hint: Any) -> str:
    """Say in words which values an option of this type takes."""
    return " or ".join(_words(kind) for kind in _kinds(hint))


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _read(searcher: str, name: str, value: object, hint: Any) -> Any:
    for kind in _kinds(hint):
        if get_origin(kind) is Literal and value in get_args(kind):
            return value
        if get_origin(kind) is tuple and isinstance(value, list | tuple):
            if all(type(each) is get_args(kind)[0] for each in value):
                return tuple(value)
        elif kind is float:
            if _is_number(value):
                return float(value)  # type: ignore[arg-type]
        elif type(value) is kind:
            return value
    raise InvalidInput(
        f"option {name} of searcher {searcher!r} is {value!r}; it takes {accepted(hint)}"
    )


def _is_number(value: object) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # an integer of hundreds of digits
        return False


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of integers" if get_args(kind)[0] is int else "a list of strings"
    return {bool: "true or false", int: "an integer", float: "a number", str: "a string"}.get(
        kind, "null"
    )
