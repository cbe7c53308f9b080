"""The nouns of a program: its steps, and what they refer to."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Reference:
    """The result of a step, a stored tensor or the images, by the name that the program gives."""

    name: str


@dataclass(frozen=True, slots=True)
class Extent:
    """How many entries the axes `first` to `last` (not included) of a result have together.

    Stands where a program wrote a number down, so that a reshape follows cut channels.
    """

    tensor: Reference
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Step:
    """One call of an operator, or of a module that was rebuilt for it.

    name: of the node.
    target: the operator's name in `operators.CALLABLES`.
    arguments, keywords: numbers, texts, types, references, and tuples of these.
    outputs: the names of the results; a tuple of names where a result is a list.
    source: where it stands in the source of whoever exported it, for messages.
    module_path, module_class: the module that ran it when it was exported, as the file says.
    module: path of the rebuilt module that runs it; None calls the operator.
    expired: results that no later step uses.
    """

    name: str
    target: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    outputs: tuple[str | tuple[str, ...], ...]
    source: str = ""
    module_path: str = ""
    module_class: str = ""
    module: str | None = None
    expired: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Name the step as messages do."""
        return describe_node(self.name, self.target, self.source)

    def references(self) -> Iterator[Reference]:
        """Yield what the step uses."""
        for argument in (*self.arguments, *self.keywords.values()):
            for each in argument if isinstance(argument, tuple) else (argument,):
                if isinstance(each, Extent):
                    yield each.tensor
                elif isinstance(each, Reference):
                    yield each

    def results(self) -> tuple[str, ...]:
        """Return the names of all results."""
        return tuple(
            name
            for output in self.outputs
            for name in (output if isinstance(output, tuple) else (output,))
        )


@dataclass(frozen=True, slots=True)
class ProgramGraph:
    """What the graph document of a program says.

    Attributes:
        images: name of the one input.
        input_shape: of one image, without the batch axis.
        batch: how many images it was exported for; None for any number.
        stored: tensor names (state-dict names, or those of constants) by the names that steps
            use for them.
        transient: names of those tensors that state dicts leave out.
        constants: those of them that are no buffers of any module.
        steps: in the order of execution.
        outputs: names of the results, in the order in which the class returns them.
    """

    images: str
    input_shape: tuple[int, ...]
    batch: int | None
    stored: Mapping[str, str]
    transient: frozenset[str]
    constants: frozenset[str]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a network of a program runs: its steps between images and outputs.

    stored: attribute paths of tensors by the names that steps use for them.
    """

    images: str
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    stored: Mapping[str, str] = field(default_factory=dict[str, str])

    def with_expiry(self) -> "Wiring":
        """Note at each step which results are used there for the last time."""
        last: dict[str, int] = {}
        for place, step in enumerate(self.steps):
            last |= dict.fromkeys([each.name for each in step.references()], place)
            for name in step.results():
                last.setdefault(name, place)
        for name in self.outputs:
            last.pop(name, None)
        expired: dict[int, list[str]] = {}
        for name, place in last.items():
            if name not in self.stored:
                expired.setdefault(place, []).append(name)
        steps = tuple(
            replace(step, expired=tuple(expired.get(place, ())))
            for place, step in enumerate(self.steps)
        )
        return replace(self, steps=steps)


def describe_node(name: str, target: str, source: str) -> str:
    """Name a node, its operator and, where the file says it, its line of source."""
    operator = target.removeprefix("torch.ops.")
    return f"{name!r} ({operator})" + (f" at {source}" if source else "")


def resolve(argument: Any, results: Mapping[str, Any]) -> Any:
    """Put the results so far in the place of references; tuples become lists."""
    if isinstance(argument, Reference):
        return results[argument.name]
    if isinstance(argument, Extent):
        tensor: Tensor = results[argument.tensor.name]
        return math.prod(tensor.shape[argument.first : argument.last])
    if isinstance(argument, tuple):
        return [resolve(each, results) for each in argument]
    return argument


def bind(outputs: Sequence[str | tuple[str, ...]], result: Any) -> dict[str, Any]:
    """Give the results of a step their names.

    Raises:
        ValueError: the operator returned another number of results than the program names.
    """
    named: dict[str, Any] = {}
    for output, value in _pairs(outputs, [result] if len(outputs) == 1 else result):
        if isinstance(output, tuple):
            named |= dict(_pairs(output, value))
        else:
            named[output] = value
    return named


def _pairs(names: Sequence[Any], values: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(values, (list, tuple)) or len(values) != len(names):
        raise ValueError(f"it does not return {len(names)} results")
    return zip(names, values, strict=True)
