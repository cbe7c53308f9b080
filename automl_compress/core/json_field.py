"""Reading a JSON document strictly: whatever is wrong is named by its JSON pointer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from automl_compress.core.errors import InvalidInput, PolicyInvalid


@dataclass(frozen=True, slots=True)
class JsonField:
    """A value of a document and the JSON pointer (RFC 6901) of its place.

    error: what is raised where the document is not what it should be.
    """

    value: Any
    pointer: str = ""
    error: type[InvalidInput] = PolicyInvalid

    def refuse(self, problem: str) -> NoReturn:
        """Raise the document's error about this field."""
        raise self.error(f"{self.pointer or '/'}: {problem}")

    def get(self, name: str) -> "JsonField":
        """Return a member of this object; the document is refused where it is missing."""
        content = self.object()
        member = JsonField(content.get(name), f"{self.pointer}/{_escaped(name)}", self.error)
        if name not in content:
            member.refuse("is missing; the document must have this field")
        return member

    def find(self, name: str) -> "JsonField | None":
        """Return a member of this object; None where it is missing or null."""
        content = self.object()
        if content.get(name) is None:
            return None
        return JsonField(content[name], f"{self.pointer}/{_escaped(name)}", self.error)

    def object(self) -> Mapping[str, Any]:
        """Return the field's members."""
        members: object = self.value
        if not isinstance(members, dict):
            self._expected("an object")
        return cast("Mapping[str, Any]", members)

    def items(self) -> Iterator["JsonField"]:
        """Yield the elements of this array."""
        elements = self.value
        if not isinstance(elements, list):
            self._expected("an array")
        for place, element in enumerate(cast("list[Any]", elements)):
            yield JsonField(element, f"{self.pointer}/{place}", self.error)

    def text(self) -> str:
        """Return the field as a string."""
        if isinstance(self.value, str):
            return self.value
        self._expected("a string")

    def choice(self, *allowed: str) -> str:
        """Return the field as one of these strings."""
        text = self.text()
        if text not in allowed:
            self.refuse(f"is {text!r}; choose one of: {', '.join(allowed)}")
        return text

    def integer(self, at_least: int = 0) -> int:
        """Return the field as an integer of at least this."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self._expected("an integer")
        if self.value < at_least:
            self.refuse(f"is {self.value}; give an integer of at least {at_least}")
        return self.value

    def number(self) -> float:
        """Return the field as a number."""
        if not isinstance(self.value, (int, float)) or isinstance(self.value, bool):
            self._expected("a number")
        return float(cast("float", self.value))

    def boolean(self) -> bool:
        """Return the field as true or false."""
        if not isinstance(self.value, bool):
            self._expected("true or false")
        return self.value

    def sha256(self) -> str:
        """Return the field as `sha256:` and 64 hexadecimal digits."""
        text = self.text()
        digits = text.removeprefix("sha256:")
        if digits == text or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            self.refuse(f"is {text!r}; give 'sha256:' and 64 hexadecimal digits")
        return text

    def _expected(self, what: str) -> NoReturn:
        self.refuse(f"is {type(self.value).__name__} {str(self.value)[:40]!r}; give {what}")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
