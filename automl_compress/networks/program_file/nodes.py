"""The nodes of a graph document, as steps."""

from collections.abc import Iterator, Mapping
from typing import Any

from automl_compress.core.errors import OperatorsRefused
from automl_compress.core.json_field import JsonField
from automl_compress.networks.program_file.arguments import read_argument, read_name, read_union
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.operators import (
    ASSERTIONS,
    CALLABLES,
    OPERATORS,
    why_refused,
)
from automl_compress.networks.program_file.sources import calling_module, plain, source_line
from automl_compress.networks.program_file.steps import Reference, Step, describe_node

_COUNTER = ".num_batches_tracked"


def read_steps(
    nodes: JsonField, images: str, stored: Mapping[str, str], limits: ProgramLimits
) -> tuple[Step, ...]:
    """Read the nodes of a graph; none of their operators is called.

    Args:
        nodes: of the document.
        images: name of the input.
        stored: tensor names by the names that nodes use.
        limits: how many nodes there may be.

    Raises:
        OperatorsRefused: nodes with operators that are not on the list; all of them are named.
        ModelInvalid: too many nodes, or one that uses what no node before it gives.
    """
    taken = [node for node in nodes.items() if node.get("target").text() not in ASSERTIONS]
    if len(taken) > limits.nodes:
        nodes.refuse(f"has {len(taken):,} nodes; {limits.nodes:,} are allowed: give a smaller one")
    refused = {
        node.pointer: _refusal(node, target)
        for node in taken
        if (target := node.get("target").text()) not in CALLABLES
    }
    if refused:
        raise OperatorsRefused(refused, len(taken))
    return tuple(_steps(taken, {images, *stored}, stored))


def _steps(nodes: list[JsonField], known: set[str], stored: Mapping[str, str]) -> Iterator[Step]:
    for node in nodes:
        step = _read_step(node, node.get("target").text())
        for reference in step.references():
            if reference.name not in known:
                node.refuse(f"uses {reference.name[:60]!r}, which no node before it gives")
        for name in step.results():
            if name in known:
                node.refuse(f"gives {name[:60]!r}, which exists already")
            known.add(name)
        if not _counts_batches(step, stored):
            yield step


def _refusal(node: JsonField, target: str) -> str:
    name = node.find("name")
    source = source_line(node.find("metadata"))
    told = describe_node("" if name is None else name.text()[:60], plain(target), source)
    return f"{told}: {why_refused(target)}"


def _read_step(node: JsonField, target: str) -> Step:
    arguments, keywords = _read_arguments(node.get("inputs"), target)
    outputs = tuple(_read_result(each) for each in node.get("outputs").items())
    if not outputs:
        node.refuse("gives no result")
    name, metadata = node.find("name"), node.find("metadata")
    path, module_class = calling_module(metadata)
    return Step(
        name="" if name is None else name.text()[:60],
        target=target,
        arguments=arguments,
        keywords=keywords,
        outputs=outputs,
        source=source_line(metadata),
        module_path=path,
        module_class=module_class,
    )


def _read_arguments(inputs: JsonField, target: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read a node's arguments in the order and under the names of its operator's schema."""
    operator = OPERATORS.get(target)
    if operator is None:  # arithmetic of sizes, whose arguments have no names
        return tuple(read_argument(each.get("arg")) for each in inputs.items()), {}
    schema = operator._schema.arguments
    by_place = [argument.name for argument in schema if not argument.kwarg_only]
    names = {argument.name for argument in schema}
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for place, each in enumerate(inputs.items()):
        name, value = each.get("name").text(), read_argument(each.get("arg"))
        if by_place[place : place + 1] == [name] and len(arguments) == place:
            arguments.append(value)
        elif name in names and name not in keywords and name not in by_place[: len(arguments)]:
            keywords[name] = value
        else:
            each.refuse(f"is an argument {name[:60]!r}, which {target} does not take here")
    return tuple(arguments), keywords


def _read_result(field: JsonField) -> str | tuple[str, ...]:
    kind, value = read_union(field)
    if kind == "as_tensor":
        return read_name(value.get("name"))
    if kind == "as_tensors":
        return tuple(read_name(each.get("name")) for each in value.items())
    if kind == "as_sym_int":
        return read_name(value.get("as_name"))
    field.refuse(f"is a result of kind {kind!r}, which is not taken")


def _counts_batches(step: Step, stored: Mapping[str, str]) -> bool:
    """Tell whether a step counts a norm's batches; the rebuilt norm does that itself."""
    counter = step.arguments[0] if step.arguments else None
    return (
        step.target == "torch.ops.aten.add_.Tensor"
        and isinstance(counter, Reference)
        and stored.get(counter.name, "").endswith(_COUNTER)
    )
