"""Where things stand in the picture of a network's coupled channels.

Layers stand below each other in the order of a forward pass. Each group is a line that touches
the layers whose outputs and inputs it cuts; lines that would cover each other get lanes of
their own.
"""

from collections.abc import Sequence


def lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Give each span the first lane in which it touches no other.

    Args:
        spans: first and last place of each, both included.

    Returns:
        One lane for each span, from 0; never more lanes than spans meet in one place.
    """
    chosen = [0] * len(spans)
    ends: list[int] = []  # of the last span in each lane
    for index in sorted(range(len(spans)), key=lambda each: (spans[each][0], -spans[each][1])):
        start, end = spans[index]
        free = next((lane for lane, last in enumerate(ends) if last < start), len(ends))
        if free == len(ends):
            ends.append(end)
        ends[free] = end
        chosen[index] = free
    return chosen
