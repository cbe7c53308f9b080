"""Every observation, by name."""

from collections.abc import Callable, Mapping

from automl_compress.core.errors import UnknownName
from automl_envs.decision_state import DecisionsObservation, GraphObservation
from automl_envs.observations import CorrectedObservation, Observation, PublishedObservation
from automl_envs.site_observation import SiteObservation
from automl_envs.walk import LayerWalk


def corrected_observation(walk: LayerWalk) -> Observation:
    """Describe groups where the walk goes from group to group, layers otherwise."""
    return CorrectedObservation(walk) if walk.kinds == ("width",) else SiteObservation(walk)


def _graph_observation(walk: LayerWalk) -> Observation:
    return GraphObservation(walk, corrected_observation(walk))


OBSERVATIONS: Mapping[str, Callable[[LayerWalk], Observation]] = {
    "published": PublishedObservation,
    "corrected": corrected_observation,
    "decisions": DecisionsObservation,
    "graph": _graph_observation,
}


def create_observation(name: str, walk: LayerWalk) -> Observation:
    """Build the observation of this name for walks like this one.

    Raises:
        UnknownName: no observation has this name.
        InvalidInput: the published one, for a walk that decides more than widths.
    """
    if name not in OBSERVATIONS:
        raise UnknownName("observation", name, OBSERVATIONS)
    return OBSERVATIONS[name](walk)
