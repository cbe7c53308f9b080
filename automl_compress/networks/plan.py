"""The channel plan: which entries of which tensors go when a channel is cut.

All cuttable channels of a network are numbered through. A cut is one boolean mask over that
numbering; every tensor axis holds, entry by entry, the number of the channel it follows. So
`mask[axis]` selects what stays, whatever the coupling: residual sums, concatenations,
flattened maps and depthwise pairs need no code of their own. An axis that is one group's
channels and nothing else, as most are, is cut by the group's kept channels themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from automl_compress.networks.coupling import SOURCE_VALUES, TensorAxis


@dataclass(frozen=True)
class ChannelPlan:
    """Index arrays for cutting; made by `trace`, used by every cut.

    channels: of each group, in the graph's order; group g's channels are numbered from
        `offsets[g]`.
    axes: for each tensor axis that follows channels, the channel number of each of its
        entries; `total` for entries that follow none. Axis SOURCE_VALUES of a shortcut's map
        lists the channel numbers of the shortcut's input.
    """

    channels: tuple[int, ...]
    axes: Mapping[TensorAxis, Tensor]
    norm_after: Mapping[str, str]

    @cached_property
    def total(self) -> int:
        """How many channels can be cut, over all groups."""
        return sum(self.channels)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The number of each group's first channel."""
        return tuple(accumulate(self.channels, initial=0))[:-1]

    def entries_each(self, axis: TensorAxis) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the most entries that a channel of each group has on this axis.

        Both are (groups,); they differ where some channels of a group reach another layer
        than others.
        """
        counts = np.bincount(self.axes[axis].numpy(), minlength=self.total + 1)[:-1]
        return (
            np.minimum.reduceat(counts, self.offsets),
            np.maximum.reduceat(counts, self.offsets),
        )

    @cached_property
    def _distinct(self) -> tuple[tuple[np.ndarray, ...], Mapping[TensorAxis, int]]:
        """Index arrays without repetition: the layers of a residual stage share theirs."""
        arrays: list[np.ndarray] = []
        places: dict[bytes, int] = {}
        which: dict[TensorAxis, int] = {}
        for axis, numbers in self.axes.items():
            key = numbers.numpy().tobytes()
            if key not in places:
                places[key] = len(arrays)
                arrays.append(numbers.numpy())
            which[axis] = places[key]
        return tuple(arrays), which

    @cached_property
    def _plain(self) -> tuple[int | None, ...]:
        """For each distinct index array the group whose channels are its entries, in order."""
        spans = {
            np.arange(offset, offset + channels).tobytes(): group
            for group, (offset, channels) in enumerate(
                zip(self.offsets, self.channels, strict=True)
            )
        }
        return tuple(spans.get(numbers.tobytes()) for numbers in self._distinct[0])

    @property
    def place(self) -> Mapping[TensorAxis, int]:
        """Which entry of `chosen` belongs to each tensor axis."""
        return self._distinct[1]

    def mask(self, kept: Sequence[Tensor]) -> Tensor:
        """Return the (total + 1,) boolean mask that keeps these channels of each group."""
        mask = np.zeros(self.total + 1, dtype=np.bool_)
        mask[-1] = True
        for offset, indices in zip(self.offsets, kept, strict=True):
            mask[indices.numpy() + offset] = True
        return torch.from_numpy(mask)

    def chosen(self, kept: Sequence[Tensor]) -> list[np.ndarray | None]:
        """Return the kept entries of each distinct axis, ascending; None where all are kept.

        Args:
            kept: channels of each group, ascending.
        """
        # On arrays this small NumPy takes a third of torch's time, and most axes need no mask.
        keeps: np.ndarray | None = None
        chosen: list[np.ndarray | None] = []
        for numbers, group in zip(self._distinct[0], self._plain, strict=True):
            if group is not None:
                entries = kept[group].numpy()
            else:
                keeps = self.mask(kept).numpy() if keeps is None else keeps
                entries = keeps[numbers].nonzero()[0]
            chosen.append(None if len(entries) == len(numbers) else entries)
        return chosen

    def selections(self, kept: Sequence[Tensor]) -> dict[TensorAxis, Tensor]:
        """Return the kept entries of each tensor axis that loses any, ascending."""
        chosen = self.chosen(kept)
        return {
            axis: torch.from_numpy(entries)
            for axis, place in self.place.items()
            if (entries := chosen[place]) is not None
        }

    def cut(self, tensors: Mapping[str, Tensor], kept: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the tensors of these kept channels; untouched ones are the same objects."""
        cut = dict(tensors)
        selections = self.selections(kept)
        for (name, axis), entries in selections.items():
            if axis != SOURCE_VALUES and name in cut:
                cut[name] = take(cut[name], axis, entries)
        for (name, axis), entries in selections.items():
            if axis == SOURCE_VALUES and name in cut:
                inputs = len(self.axes[name, axis])
                cut[name] = torch.from_numpy(
                    renumber_sources(cut[name].numpy(), inputs, entries.numpy())
                )
        return cut


def take(tensor: Tensor, axis: int, entries: Tensor) -> Tensor:
    """Return the tensor with only these entries (ascending) of one axis, contiguous.

    The same as `index_select`; on the processor NumPy's gather takes half of its time, and
    cutting is nothing but gathers.
    """
    if tensor.device.type != "cpu" or tensor.requires_grad:
        return tensor.index_select(axis, entries.to(tensor.device))
    return torch.from_numpy(tensor.numpy().take(entries.numpy(), axis=axis, mode="clip"))


def renumber_sources(source: np.ndarray, inputs: int, kept: np.ndarray) -> np.ndarray:
    """Point a shortcut's map at the kept input channels.

    Args:
        source: input channel shown by each output channel; `inputs` for zero.
        inputs: channels of the shortcut's input.
        kept: those of them that stay, ascending.

    Returns:
        The map of the cut shortcut; what showed a removed channel shows zero.
    """
    new_places = np.full(inputs + 1, len(kept), dtype=source.dtype)
    new_places[kept] = np.arange(len(kept))
    return new_places[source]
