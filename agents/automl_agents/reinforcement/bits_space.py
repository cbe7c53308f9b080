"""A space in which bits alone are decided, on a network that is left whole."""

from collections.abc import Sequence
from dataclasses import replace

from automl_compress.core import CompressionSpace, Cost, SearchProblem
from automl_compress.core.decision import decisions_of

BIT_KINDS = ("weight_bits", "activation_bits")


def opens_bits(space: CompressionSpace) -> bool:
    """Say whether a layer has a choice of bits."""
    return any(
        decision.kind in BIT_KINDS and len(decision.allowed) > 1 for decision in space.decisions
    )


def with_bits_alone(problem: SearchProblem) -> SearchProblem:
    """Return the problem without decisions on channels and densities.

    Groups stay whole, but for those of a fixed sparsity; costs are counted as before.
    """
    options = replace(problem.space.options, schemes=())
    space = CompressionSpace(problem.space.graph, BitsCosts(problem.space), options)
    return replace(problem, space=space)


class BitsCosts:
    """The costs of a space, asked with settings of its bits and fixed widths alone."""

    def __init__(self, space: CompressionSpace) -> None:
        """Find where the values belong in a setting of the whole space."""
        self.full = space.costs.full
        self._costs, self._largest = space.costs, space.largest
        place = {decision.name: index for index, decision in enumerate(space.decisions)}
        options = replace(space.options, schemes=())
        self._places = [place[each.name] for each in decisions_of(space.graph, options)]

    def cost(self, setting: Sequence[int]) -> Cost:
        """Return the cost of a setting; densities count as whole."""
        whole = list(self._largest)
        for place, value in zip(self._places, setting, strict=True):
            whole[place] = value
        return self._costs.cost(whole)
