"""Which probes make a sensitivity profile, for an effort."""

from collections.abc import Iterator
from dataclasses import dataclass

from automl_agents.decisions import open_decisions
from automl_compress.core import CompressionSpace, SearchProblem
from automl_compress.core.decision import Decision

LEVELS, IMAGES = 9, 256
FEWEST_IMAGES = 32
PROFILE_SHARE = 1 / 3  # of the effort, where a search follows
_FEWER_LEVELS = (6, 4, 3, 2)


@dataclass(frozen=True, slots=True)
class Probe:
    """One decision at `value`, the others at their largest; decision None changes nothing."""

    decision: int | None
    value: int


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """Which probes make a profile, in the order in which they are asked.

    images: the first so many score each of them.
    """

    probes: tuple[Probe, ...]
    images: int


def plan_profile(
    problem: SearchProblem, evaluations: float, levels: int = LEVELS, images: int = IMAGES
) -> ProfilePlan:
    """Choose probes that an effort allows.

    Where `levels` values of each decision on `images` images are too much, there are fewer
    levels, down to 2; then fewer images, down to half; then one level at two thirds of the
    range, and still fewer images, down to 32, whatever they cost. Decisions that the budget
    does not count are not probed.

    Args:
        problem: space, and what an evaluation costs.
        evaluations: what the profile may cost, in full proxy evaluations.
        levels: how many values of each decision, spread evenly down to the space's smallest.
        images: how many images score a probe; no more than the problem has.
    """
    places = open_decisions(problem.space, problem.budget.metric)
    plan = ProfilePlan((), images)
    for count, size in _smaller_and_smaller(levels, min(images, problem.images)):
        plan = ProfilePlan(tuple(_probes(problem.space, places, count)), size)
        if len(plan.probes) * problem.evaluations(size) <= evaluations:
            break
    return plan


def _smaller_and_smaller(levels: int, images: int) -> Iterator[tuple[int, int]]:
    yield levels, images
    yield from ((fewer, images) for fewer in _FEWER_LEVELS if fewer < levels)
    fewest = min(FEWEST_IMAGES, images)
    images = max(images // 2, fewest)
    yield min(levels, 2), images
    while images > fewest:
        yield 1, images
        images = max(images // 2, fewest)
    yield 1, images


def _probes(space: CompressionSpace, places: list[int], levels: int) -> Iterator[Probe]:
    """Yield the largest setting, then level by level so that an early end leaves whole curves.

    Within a level from the last decision to the first: the prefix of the network that two
    probes in a row leave as it is is then forwarded once.
    """
    yield Probe(None, 0)
    cuts = [(k + 1) / levels for k in range(levels)] if levels > 1 else []
    seen: set[Probe] = set()
    for place in _spread(len(cuts)) if cuts else [0]:
        cut = cuts[place] if cuts else 2 / 3
        setting = space.clip([1.0 - cut * _reach(space, each) for each in space.decisions])
        for decision in reversed(places):
            probe = Probe(decision, setting[decision])
            if setting[decision] < space.largest[decision] and probe not in seen:
                seen.add(probe)
                yield probe


def _reach(space: CompressionSpace, decision: Decision) -> float:
    """Return how far below 1 the shares of a decision go."""
    if decision.is_ordinal:
        return 1.0 - 1.0 / len(decision.allowed)
    options = space.options
    return options.max_sparsity if decision.kind == "width" else options.max_element_sparsity


def _spread(count: int) -> list[int]:
    """Order 0 ... count - 1 so that each comes as far as possible from those before it."""
    order: list[int] = []
    while len(order) < count:
        rest = [place for place in range(count) if place not in order]
        # -1 stands for the largest setting, which is known.
        order.append(max(rest, key=lambda place: min(abs(place - each) for each in [*order, -1])))
    return order
