"""The program in segments, so that a prefix which did not change runs once.

A sensitivity profile, a local search or a mutation changes a few late groups and leaves the
rest of the network as it was. Where two candidates in a row agree on everything that a prefix
of the program depends on, the prefix's result is kept, and the next candidate that agrees too
starts behind it. Searches that change early groups every time, such as random search, keep
nothing and pay nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from automl_compress.core import LayerChoice
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.program import Program
from automl_compress.networks.plan import ChannelPlan

MOST_SEGMENTS = 8
LARGEST_CACHE_BYTES = 512 << 20  # of one process, all prefixes together


@dataclass(frozen=True)
class Segment:
    """A part of the program with one tensor coming in and one going out.

    inputs: positions among the program's tensors. groups, layers: those that this segment, or
    any before it, depends on.
    """

    module: fx.GraphModule
    inputs: tuple[int, ...]
    groups: tuple[int, ...]
    layers: tuple[str, ...]


# Kept channels of each group, and what becomes of each layer.
_Key = tuple[tuple[bytes, ...], tuple[LayerChoice | None, ...]]


@dataclass
class _Prefix:
    """What is known of one boundary: the latest candidate's key, and results if they paid."""

    seen: _Key | None = None
    key: _Key | None = None
    results: list[Tensor] = field(default_factory=list)


class PrefixCache:
    """Runs candidates of one program over the same batches."""

    def __init__(self, program: Program, plan: ChannelPlan) -> None:
        """Cut the program where a single tensor crosses."""
        self._segments = tuple(split_program(program, plan))
        self._batches: Sequence[Tensor] = ()
        self._forget()

    def _forget(self) -> None:
        self._prefixes = [_Prefix() for _ in self._segments[:-1]]

    def logits(
        self, candidate: Candidate, tensors: Sequence[Tensor], batches: Sequence[Tensor]
    ) -> Tensor:
        """Return the logits of all batches, in order.

        Args:
            candidate: says which prefixes are unchanged.
            tensors: the program's.
            batches: images; another list than at the last call forgets all prefixes.
        """
        if batches is not self._batches:
            self._batches = batches
            self._forget()
        start, inputs = self._longest_known(candidate, batches)
        keeping = self._worth_keeping(candidate, start)
        results: list[Tensor] = []
        for value in inputs:
            for place in range(start, len(self._segments)):
                segment = self._segments[place]
                value = segment.module.forward(value, *[tensors[i] for i in segment.inputs])
                if place in keeping:
                    self._prefixes[place].results.append(value)
            results.append(value)
        self._bound_memory()
        return torch.cat(results)

    def _key(self, place: int, candidate: Candidate) -> _Key:
        segment = self._segments[place]
        return (
            tuple(candidate.kept[group].numpy().tobytes() for group in segment.groups),
            tuple(candidate.layers.get(layer) for layer in segment.layers),
        )

    def _longest_known(
        self, candidate: Candidate, batches: Sequence[Tensor]
    ) -> tuple[int, Sequence[Tensor]]:
        for place in reversed(range(len(self._prefixes))):
            prefix = self._prefixes[place]
            if prefix.key is not None and prefix.key == self._key(place, candidate):
                return place + 1, prefix.results
        return 0, batches

    def _worth_keeping(self, candidate: Candidate, start: int) -> set[int]:
        """Name the boundaries at which this candidate agrees with the one before it."""
        keeping: set[int] = set()
        for place in range(len(self._prefixes)):
            prefix, key = self._prefixes[place], self._key(place, candidate)
            if place >= start and prefix.seen == key:
                prefix.key, prefix.results = key, []
                keeping.add(place)
            prefix.seen = key
        # The longest such prefix serves all that the shorter ones would.
        for place in keeping - {max(keeping, default=0)}:
            self._prefixes[place].key = None
        return {max(keeping)} if keeping else set()

    def _bound_memory(self) -> None:
        kept_bytes = 0
        for prefix in reversed(self._prefixes):
            size = sum(value.numel() * value.element_size() for value in prefix.results)
            kept_bytes += size
            if prefix.key is None or kept_bytes > LARGEST_CACHE_BYTES:
                prefix.key, prefix.results = None, []


def split_program(program: Program, plan: ChannelPlan) -> Iterator[Segment]:
    """Yield the program's segments, in order; one if it cannot be cut."""
    *nodes, output = program.module.graph.nodes
    (logits,) = output.args  # other outputs of the network may be computed after it
    places = {node: index for index, node in enumerate(nodes)}
    placeholders = [node for node in nodes if node.op == "placeholder"]
    position = {node: index - 1 for index, node in enumerate(placeholders)}  # images: -1
    ends = _boundaries(nodes, places, placeholders)
    groups: set[int] = set()
    layers: set[str] = set()
    incoming, begin = placeholders[0], 0
    for end in [*ends, len(nodes) - 1]:
        part = [node for node in nodes[begin : end + 1] if node.op != "placeholder"]
        outgoing = nodes[end] if end < len(nodes) - 1 else logits
        segment, inputs = _segment(part, incoming, outgoing, position)
        for index in inputs:
            groups |= _groups_of(program.inputs[index], plan)
            layers.add(program.inputs[index].rpartition(".")[0])
        yield Segment(segment, inputs, tuple(sorted(groups)), tuple(sorted(layers)))
        incoming, begin = nodes[end], end + 1


def _boundaries(
    nodes: list[fx.Node], places: dict[fx.Node, int], placeholders: list[fx.Node]
) -> list[int]:
    """Find where one tensor crosses that nothing behind overwrites; thin them out evenly."""
    last_use = {
        node: max((places.get(user, len(nodes)) for user in node.users), default=places[node])
        for node in nodes
    }
    tensors = set(placeholders[1:])
    found = [
        index
        for index, node in enumerate(nodes[:-1])
        if node.op == "call_function"
        and not any(_overwrites(user, node) for user in node.users)
        and [
            other
            for other in nodes[: index + 1]
            if other not in tensors and last_use[other] > index
        ]
        == [node]
    ]
    count = min(MOST_SEGMENTS - 1, len(found))
    return [found[(step * len(found)) // (count + 1)] for step in range(1, count + 1)]


def _overwrites(user: fx.Node, node: fx.Node) -> bool:
    return overwrites_first(user.target) and bool(user.args) and user.args[0] is node


def overwrites_first(target: Any) -> bool:
    """Say whether an operator writes its result over its first operand."""
    schema = getattr(target, "_schema", None)
    return schema is not None and schema.name.endswith("_")


def _segment(
    part: list[fx.Node], incoming: fx.Node, outgoing: fx.Node, position: dict[fx.Node, int]
) -> tuple[fx.GraphModule, tuple[int, ...]]:
    graph = fx.Graph()
    copies = {incoming: graph.placeholder("incoming")}
    needed = sorted(
        {source for node in part for source in node.all_input_nodes if source in position}
        - {incoming},
        key=lambda node: position[node],
    )
    for node in needed:
        copies[node] = graph.placeholder(node.name)
    for node in part:
        copies[node] = graph.node_copy(node, lambda source: copies[source])
    graph.output(copies[outgoing])
    return fx.GraphModule(torch.nn.Module(), graph), tuple(position[node] for node in needed)


def _groups_of(name: str, plan: ChannelPlan) -> set[int]:
    """Return the groups that any axis of this tensor follows."""
    is_folded = name.endswith(".folded_bias")
    weight = f"{name.rpartition('.')[0]}.weight" if is_folded else name
    found: set[int] = set()
    for (tensor, _), numbers in plan.axes.items():
        if tensor == weight:
            for group, (offset, channels) in enumerate(
                zip(plan.offsets, plan.channels, strict=True)
            ):
                if bool(((numbers >= offset) & (numbers < offset + channels)).any()):
                    found.add(group)
    return found
