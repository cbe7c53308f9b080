"""Where the configurations of jobs differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One member of the configurations; a value for each job, empty where it has none."""

    name: str
    values: Sequence[str]


def flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the members of nested objects under names with dots; lists are one value."""
    found: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= flattened(value, f"{prefix}{name}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def differences(
    told: Sequence[Mapping[str, str]],
) -> tuple[Sequence[Difference], Sequence[Difference]]:
    """Return the members in which configurations differ, and those in which they agree."""
    names = dict.fromkeys(name for each in told for name in each)
    rows = [Difference(name, [each.get(name, "") for each in told]) for name in names]
    differing = [row for row in rows if len(set(row.values)) > 1]
    return differing, [row for row in rows if len(set(row.values)) == 1]
