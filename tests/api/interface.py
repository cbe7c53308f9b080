"""The interface as its OpenAPI document tells it: what can be asked, and the bodies that it takes.

Whoever tries everything derives it from here, so that a new operation is tried by itself.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from automl_api.client import Client
from tests.api.accounts import DOCUMENT, OPERATOR_KEY, TABLE
from tests.api.conftest import RunningService

Json = dict[str, Any]
PLACEHOLDER = re.compile(r"{(\w+)}")

# What no schema tells in full.
_WHOLE: Json = {"document": DOCUMENT.to_json(), "latency_table": TABLE}
# What an id makes sense beside.
_BESIDE: Mapping[str, Json] = {"weights_file_id": {"architecture": {"name": "resnet-20"}}}

_NAMED_OTHERWISE = {
    "target": "target_id",
    "job": "job_id",
    "other_id": "policy_id",
    "search_id": "job_id",
}


@dataclass(frozen=True)
class Operation:
    """A method at a path, with the schema of its body and the names of its query's parameters."""

    method: str
    path: str
    body: Json | None
    query: tuple[str, ...]

    @property
    def has_ids(self) -> bool:
        """Whether the path names something by its id."""
        return any(is_id(name) for name in PLACEHOLDER.findall(self.path))


@dataclass(frozen=True)
class Interface:
    """Every operation, and what bodies of a schema are like.

    ids: by kind, as `model_id`: what stands in a body where a test puts nothing else.
    """

    document: Json
    ids: Mapping[str, str]

    def operations(self) -> list[Operation]:
        """Return every method at every path."""
        return [
            Operation(method, path, _body_of(told), _query_of(told))
            for path, methods in self.document["paths"].items()
            for method, told in methods.items()
        ]

    def body(self, operation: Operation) -> Any:
        """Return the smallest body that an operation takes; None where it takes none."""
        return None if operation.body is None else self._least(operation.body)

    def bodies_with_ids(self, operation: Operation) -> Iterator[tuple[str, Any]]:
        """Yield a body for each place where an id may stand, and the name of the place.

        At that place is the id's kind in braces, as `{model_id}`, for whoever sends it to fill in.
        """
        if operation.body is not None:
            yield from self._with_id(operation.body)

    def _with_id(self, schema: Json, name: str = "") -> Iterator[tuple[str, Any]]:
        if is_id(name):
            yield name, f"{{{kind_of(name)}}}"
            return
        for choice in self._choices(schema):
            for each, told in choice.get("properties", {}).items():
                for place, value in self._with_id(told, each):
                    yield place, {**self._least(choice), **_BESIDE.get(place, {}), each: value}

    def _least(self, schema: Json, name: str = "") -> Any:
        if name in _WHOLE or is_id(name):
            return _WHOLE.get(name) or self.ids[kind_of(name)]
        told = self._choices(schema)[0]
        if told.get("type") == "object":
            needed = told.get("required", ())
            return {each: self._least(told["properties"][each], each) for each in needed}
        if "const" in told or "enum" in told:
            return told["const"] if "const" in told else told["enum"][0]
        return told.get("maximum", "x")

    def _choices(self, schema: Json) -> list[Json]:
        """Return the schemas that a value may be of, but for null."""
        reference: str | None = schema.get("$ref")
        if reference is not None:
            return self._choices(self.document["components"]["schemas"][reference.split("/")[-1]])
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return [each for one in schema[word] for each in self._choices(one)]
        return [] if schema.get("type") == "null" else [schema]


def interface_of(service: RunningService, ids: Mapping[str, str]) -> Interface:
    """Read what a running service says of itself."""
    with Client(service.url, OPERATOR_KEY) as client:
        return Interface(client.get("/openapi.json"), ids)


def filled(path: str, ids: Mapping[str, str]) -> str:
    """Return a path with ids by their kind in its places."""
    return PLACEHOLDER.sub(lambda found: ids[kind_of(found[1])], path)


def is_id(name: str) -> bool:
    """Say whether a parameter or a member of a body is an id, by its name."""
    return name.endswith("_id") or name in _NAMED_OTHERWISE


def kind_of(name: str) -> str:
    """Return what an id of this name is the id of, as `file_id` of `weights_file_id`."""
    return _NAMED_OTHERWISE.get(name) or "_".join(name.split("_")[-2:])


def _body_of(told: Json) -> Json | None:
    content: Json = told.get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("schema")


def _query_of(told: Json) -> tuple[str, ...]:
    return tuple(each["name"] for each in told.get("parameters", ()) if each["in"] == "query")
