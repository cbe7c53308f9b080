"""Where an episode stops, and what it decides there."""

from dataclasses import dataclass
from typing import get_args

from automl_compress.core import CompressionSpace, DecisionKind

KINDS: tuple[DecisionKind, ...] = get_args(DecisionKind)


@dataclass(frozen=True, slots=True)
class Site:
    """A step of an episode: a group where widths alone are open, a layer otherwise.

    layer: whose features describe the site; of a group its first producer.
    places: for each component of an action, the decision that it is about, by index in the
        space: of a width the group that the layer produces. None where there is no such one.
    decides: for each component, whether it is decided here. It is not where the value is fixed,
        or where the group was decided at an earlier layer.
    """

    layer: str
    places: tuple[int | None, ...]
    decides: tuple[bool, ...]

    @property
    def decisions(self) -> tuple[int, ...]:
        """The decisions that are taken here, by index in the space."""
        return tuple(
            place
            for place, is_here in zip(self.places, self.decides, strict=True)
            if place is not None and is_here
        )


def open_kinds(space: CompressionSpace) -> tuple[DecisionKind, ...]:
    """Return the kinds of which a decision has a choice; of all decisions where none has."""
    free = {decision.kind for decision in space.decisions if len(decision.allowed) > 1}
    found = free or {decision.kind for decision in space.decisions}
    return tuple(kind for kind in KINDS if kind in found)


def decides_widths_alone(space: CompressionSpace) -> bool:
    """Say whether nothing but widths is open."""
    return open_kinds(space) == ("width",)


def sites_of(space: CompressionSpace) -> tuple[Site, ...]:
    """List the sites of an episode, in the graph's order; each decides something.

    Decisions of only one allowed value (skipped or fixed ones) are not taken, unless there are
    no others.
    """
    has_choice = any(len(decision.allowed) > 1 for decision in space.decisions)
    taken = [len(decision.allowed) > 1 or not has_choice for decision in space.decisions]
    if decides_widths_alone(space):
        return tuple(
            Site(group.producers[0], (index,), (True,))
            for index, group in enumerate(space.graph.groups)
            if taken[index]
        )
    sites = _layer_sites(space, taken)
    return tuple(site for site in sites if any(site.decides))


def _layer_sites(space: CompressionSpace, taken: list[bool]) -> list[Site]:
    kinds = open_kinds(space)
    place = {(each.kind, each.target): index for index, each in enumerate(space.decisions)}
    sites: list[Site] = []
    for layer in space.graph.layers:
        if layer.kind == "other":
            continue
        places = [place.get((kind, layer.name)) for kind in kinds]
        decides = [each is not None and taken[each] for each in places]
        if kinds[0] == "width":
            own = [
                g for g, each in enumerate(space.graph.groups) if each.producers[0] == layer.name
            ]
            places[0] = own[0] if own else layer.output_group
            decides[0] = bool(own) and taken[own[0]]
        sites.append(Site(layer.name, tuple(places), tuple(decides)))
    return sites
