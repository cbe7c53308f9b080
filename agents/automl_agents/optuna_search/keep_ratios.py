"""The keep ratios of a space's free groups, as Optuna's parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
from optuna.distributions import FloatDistribution

from automl_compress.core import CompressionSpace


class KeepRatios:
    """Translates between widths of all groups and named keep ratios of the free ones.

    A group is free where the space allows it more than one width; the others are no parameters.

    distributions: of each free group's keep ratio, by the group's name, in the graph's order.
    """

    def __init__(self, space: CompressionSpace) -> None:
        """Find the free groups."""
        self._fixed = np.asarray(space.smallest) / space.graph.full_widths  # (G,)
        self._full = np.asarray(space.graph.full_widths)
        free = [index for index, allowed in enumerate(space.allowed) if len(allowed) > 1]
        self._free = np.array(free, dtype=np.int64)
        self.distributions = {
            space.graph.groups[index].name: FloatDistribution(
                float(self._fixed[index]), space.allowed[index][-1] / self._full[index]
            )
            for index in free
        }

    def of_widths(self, widths: Sequence[int]) -> dict[str, float]:
        """Return the parameters under which the free groups have these widths, (G,)."""
        ratios = (np.asarray(widths) / self._full)[self._free]
        return dict(zip(self.distributions, ratios.tolist(), strict=True))

    def of_all_groups(self, parameters: Mapping[str, float]) -> list[float]:
        """Return a keep ratio for every group, (G,)."""
        ratios = self._fixed.copy()
        ratios[self._free] = [parameters[name] for name in self.distributions]
        return ratios.tolist()
