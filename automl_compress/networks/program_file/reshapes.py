"""Reshapes that follow their input: a number that export wrote down becomes an axis again.

A forward pass says `x.view(x.shape[0], x.shape[1], 1, 1)`, the program `view(x, [B, 64, 1, 1])`.
With the number in place, the 64 channels could never be cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from automl_compress.networks.program_file.dry_run import Shapes
from automl_compress.networks.program_file.steps import Extent, Reference, Step

_ATEN = "torch.ops.aten."
_RESHAPES = {
    f"{_ATEN}{name}" for name in ("view.default", "reshape.default", "_unsafe_view.default")
}
_EXPANSIONS = {f"{_ATEN}expand.default", f"{_ATEN}broadcast_to.default"}

Span = tuple[int, int]


def follow_input(step: Step, shapes: Shapes) -> Step:
    """Return the step with every size that is an axis of its input taken from there.

    Args:
        step: any; other than reshapes and expansions stay as they are.
        shapes: of all tensors, as the dry run found them.
    """
    if step.target not in _RESHAPES | _EXPANSIONS or len(step.arguments) != 2 or step.keywords:
        return step
    tensor, sizes = step.arguments
    (result,) = step.results()
    if not isinstance(tensor, Reference) or not isinstance(sizes, tuple):
        return step
    before, after = shapes[tensor.name], shapes[result]
    followed = list(sizes)
    if step.target in _EXPANSIONS:
        added = len(after) - len(before)
        for axis in range(added, len(sizes)):
            if isinstance(sizes[axis], int) and before[axis - added] == after[axis]:
                followed[axis] = -1  # as it is
    else:
        for (first, last), places in matching_axes(before, after):
            longer = [place for place in range(*places) if after[place] != 1] or [places[0]]
            if len(longer) == 1 and isinstance(sizes[longer[0]], int) and sizes[longer[0]] != -1:
                followed[longer[0]] = Extent(tensor, first, last)
    return replace(step, arguments=(tensor, tuple(followed)))


def matching_axes(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[Span, Span]]:
    """Yield the smallest runs of axes that hold the same entries before and after a reshape.

    Args:
        before: a shape without empty axes.
        after: another one of equally many entries.

    Yields:
        `(first, last)` of the axes before, and of those after; the last is not included.
    """
    if 0 in before or 0 in after:
        return
    start_before = start_after = 0
    while start_before < len(before) and start_after < len(after):
        last_before, last_after = start_before + 1, start_after + 1
        left, right = before[start_before], after[start_after]
        while left != right:
            if left < right:
                left, last_before = left * before[last_before], last_before + 1
            else:
                right, last_after = right * after[last_after], last_after + 1
        yield (start_before, last_before), (start_after, last_after)
        start_before, start_after = last_before, last_after
