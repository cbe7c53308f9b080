"""Shortcuts that pad channels with zeros, found in a program and made modules again.

Written as slices and a pad, their two sides would be coupled by fixed numbers and whole stages
of a CIFAR ResNet could not be cut; see `networks.shortcut`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from automl_compress.networks.program_file.dry_run import Shapes
from automl_compress.networks.program_file.layers import arguments_of
from automl_compress.networks.program_file.steps import Reference, Step, Wiring
from automl_compress.networks.shortcut import ZeroPadShortcut

_ATEN = "torch.ops.aten."
_SLICE, _SELECT = f"{_ATEN}slice.Tensor", f"{_ATEN}index_select.default"
_PADS = {f"{_ATEN}pad.default", f"{_ATEN}constant_pad_nd.default"}
_WHOLE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FoundShortcut:
    """A shortcut: the module, the steps that it stands for, and where the last of them was.

    path: of the module; "" where the file does not tell.
    """

    module: ZeroPadShortcut
    path: str
    replaced: frozenset[str]
    step: Step


def find_shortcuts(
    wiring: Wiring, stored: Mapping[str, Tensor], shapes: Shapes
) -> dict[str, FoundShortcut]:
    """Find every shortcut.

    Args:
        wiring: the program.
        stored: the values of its tensors by the names that steps use.
        shapes: of all results.

    Returns:
        Shortcuts by the name of their padding step's result.
    """
    search = _Search(wiring, stored, shapes)
    found = [search.shortcut(step) for step in wiring.steps if step.target in _PADS]
    return {name: shortcut for each in found if each is not None for name, shortcut in [each]}


class _Search:
    """Who makes and who uses each result."""

    def __init__(self, wiring: Wiring, stored: Mapping[str, Tensor], shapes: Shapes) -> None:
        self._names, self._stored, self._shapes = wiring.stored, stored, shapes
        uses = [(each.name, step) for step in wiring.steps for each in step.references()]
        self._made_by = {name: step for step in wiring.steps for name in step.results()}
        self._uses = Counter([*(name for name, _ in uses), *wiring.outputs])
        self._used_by = dict(uses)

    def shortcut(self, pad: Step) -> tuple[str, FoundShortcut] | None:
        """Return the shortcut that ends with this padding; None where it is none."""
        sides = self._padded_channels(pad)
        if sides is None:
            return None
        (padded,) = pad.results()
        images, stride, replaced = self._unstrided(arguments_of(pad)["self"])
        if images is None:
            return None
        channels = self._shapes[images.name][1]
        last, source, path = pad, _padded_source(channels, *sides), ""
        select = self._used_by.get(padded)
        if sides == (0, 1) and self._uses[padded] == 1 and select is not None:
            chosen = self._chosen(select)
            if chosen is not None and int(chosen[0].max()) <= channels:
                last, (source, path) = select, chosen
                replaced |= {padded}
        module = ZeroPadShortcut(channels, max(channels, len(source)), stride)
        module.source = source.clone()
        module.out_channels = len(source)
        step = replace(last, arguments=(images,), keywords={})
        return padded, FoundShortcut(module, path, frozenset(replaced), step)

    def _padded_channels(self, pad: Step) -> tuple[int, int] | None:
        """Return how many zero channels a padding puts before and behind."""
        arguments = arguments_of(pad)
        source, widths = arguments.get("self"), arguments.get("pad")
        is_zero = arguments.get("mode", "constant") == "constant" and not arguments.get("value")
        if not isinstance(source, Reference) or not isinstance(widths, tuple) or not is_zero:
            return None
        if len(self._shapes[source.name]) != 4 or len(widths) != 6 or any(widths[:4]):
            return None
        before, behind = widths[4:]
        is_number = isinstance(before, int) and isinstance(behind, int)
        return (before, behind) if is_number and min(before, behind) >= 0 else None

    def _unstrided(self, tensor: Any) -> tuple[Reference | None, int, set[str]]:
        """Go back over the slices that leave rows and columns out; return also their step."""
        strides = {2: 1, 3: 1}
        replaced: set[str] = set()
        while True:
            made_by = self._made_by.get(tensor.name)
            if made_by is None or made_by.target != _SLICE:
                break
            cut = arguments_of(made_by)
            is_whole = cut["start"] in (0, None) and cut["end"] in (_WHOLE, None)
            axis, step = cut["dim"], cut["step"]
            is_stride = isinstance(step, int) and (step == 1 or axis in strides)
            if not is_whole or not is_stride or self._uses[tensor.name] != 1:
                return None, 1, set()  # another slice, which is no part of a shortcut
            if axis in strides:
                strides[axis] *= step
            replaced.add(tensor.name)
            tensor = cut["self"]
        is_even = strides[2] == strides[3]
        return (tensor if is_even else None), strides[2], replaced

    def _chosen(self, select: Step) -> tuple[Tensor, str] | None:
        """Return the stored channel map by which a step selects, and its module's path."""
        arguments = arguments_of(select) if select.target == _SELECT else {}
        index = arguments.get("index")
        if arguments.get("dim") != 1 or not isinstance(index, Reference):
            return None
        source = self._stored.get(index.name)
        if source is None or source.dtype != torch.int64 or source.dim() != 1 or not len(source):
            return None
        owner, _, name = self._names[index.name].rpartition(".")
        return (source, owner) if name == "source" and int(source.min()) >= 0 else None


def _padded_source(channels: int, before: int, behind: int) -> Tensor:
    source = torch.full((before + channels + behind,), channels, dtype=torch.int64)
    source[before : before + channels] = torch.arange(channels)
    return source
