"""HAQ as published: its steps, its map from actions to bits, and its sweep to the budget."""

from collections.abc import Sequence

from automl_compress.core import Budget, CompressionSpace
from automl_compress.core.errors import InvalidInput
from automl_envs.sites import Site, sites_of
from automl_envs.walk import LayerWalk, WalkRules

BIT_KINDS = ("weight_bits", "activation_bits")


class HaqWalk(LayerWalk):
    """Decides one bit-width a step: of each layer its weights', then its activations'.

    An action in [0, 1] becomes bits by `published_bits`, and the nearest allowed ones. After
    the last step `sweep_to_budget` subtracts bits. Layers of which both bit-widths are fixed are
    not visited, where HAQ's code takes such steps and ignores them.

    Source: mit-han-lab/haq, lib/env, the environments of k-means (weights alone) and linear
    quantisation (both).
    """

    def __init__(self, space: CompressionSpace, budget: Budget) -> None:
        """Begin at the first layer.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
            InvalidInput: the space opens more than bits, or no bits.
        """
        super().__init__(space, budget, WalkRules("scale"))

    def _route(self) -> tuple[tuple[str, ...], tuple[Site, ...]]:
        places = [place for site in sites_of(self.space) for place in site.decisions]
        kinds = dict.fromkeys(self.space.decisions[place].kind for place in places)
        if not kinds.keys() <= set(BIT_KINDS):
            raise InvalidInput(
                f"HAQ's walk decides bits alone, and here {', '.join(kinds)} are to be decided; "
                "give weight_bits or activation_bits, and no schemes"
            )
        sites = (Site(self.space.decisions[place].target, (place,), (True,)) for place in places)
        return ("bits",), tuple(sites)

    def _bounds_of(self, place: int) -> tuple[float, float]:
        return 0.0, 1.0

    def _decide(self, place: int, share: float) -> None:
        allowed = self.space.allowed[place]
        bits = published_bits(min(max(share, 0.0), 1.0), allowed[0], allowed[-1])
        self._take(place, min(allowed, key=lambda each: abs(each - bits)), share)

    def _close(self) -> None:
        order = [place for site in self.order for place in site.decisions]
        self.setting = sweep_to_budget(self.space, order, self.setting, self.budget)


def published_bits(action: float, fewest: int, most: int) -> int:
    """Return fewest - 1/2 + action * (most - fewest + 1), rounded half to even.

    All bits have bins of one width, but for the rounding at the ends: action 0 gives 0 bits
    where the fewest are 1, and 2 where they are 2.

    Args:
        action: in [0, 1].
        fewest: bits of the lowest bin.
        most: bits of the highest one.

    Source: mit-han-lab/haq, lib/env, the preprocessing of actions.
    """
    return round(fewest - 0.5 + action * (most - fewest + 1))


def sweep_to_budget(
    space: CompressionSpace, order: Sequence[int], setting: Sequence[int], budget: Budget
) -> list[int]:
    """Subtract one bit each from the last decision to the first, until the budget is met.

    Of a layer the activations lose first. Sweeps are repeated; one ends as soon as the budget is
    met, so that late layers lose most. One bit is one step down the allowed values.

    Args:
        space: whose smallest setting is within the budget.
        order: of the decisions, by index, as they were taken.
        setting: to begin with; decisions outside `order` stay as they are.
        budget: what the network may cost.

    Source: mit-han-lab/haq, lib/env, the final action wall.
    """
    swept = list(setting)
    while not space.within(swept, budget):
        for place in reversed(order):
            allowed = space.allowed[place]
            swept[place] = allowed[max(allowed.index(swept[place]) - 1, 0)]
            if space.within(swept, budget):
                break
    return swept
