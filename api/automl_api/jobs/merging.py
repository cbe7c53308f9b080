"""JSON merge patches (RFC 7396)."""

from typing import Any, cast


def merged(original: object, patch: object) -> Any:
    """Return what a patch makes of a JSON value.

    Members of an object replace those of the same name, and null removes them; anything else
    takes the original's place.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(cast("dict[str, Any]", original)) if isinstance(original, dict) else {}
    for name, value in cast("dict[str, Any]", patch).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
