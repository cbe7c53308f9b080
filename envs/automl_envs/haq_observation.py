"""What HAQ's actor sees as published."""

import numpy as np

from automl_envs.features import layer_weights, min_max_by_column
from automl_envs.haq_walk import BIT_KINDS
from automl_envs.site_observation import input_positions
from automl_envs.walk import LayerWalk

LINEAR_BITS = 8.0  # what bits are divided by in the linear form, and stand at first
FIRST_BITS = 4.0  # of the k-means form, which shows them as they are


class HaqObservation:
    """HAQ's nine features for weight bits alone (k-means), ten for both kinds (linear).

    - With weights alone the previous bits are shown as they are, 4 at first; with both kinds
      divided by 8, 1 at first.
    - `is_activation`, of the linear form: 1 for activations, 0 for weights, but 1 at the first
      step, which is a weight's: there the code means the opposite by it.
    - Nothing tells of the budget.

    The code does not reset the previous bits, so that an episode begins with those of the one
    before; this one does, since an ask depends on nothing but seed and tells.

    Source: mit-han-lab/haq, lib/env.
    """

    def __init__(self, walk: LayerWalk) -> None:
        """Lay out the static columns, one row for each step of a HaqWalk."""
        graph, decisions = walk.space.graph, walk.space.decisions
        kinds = [decisions[site.decisions[0]].kind for site in walk.order]
        is_linear = BIT_KINDS[1] in kinds
        self._divisor = LINEAR_BITS if is_linear else 1.0
        self._first = LINEAR_BITS if is_linear else FIRST_BITS
        self.features: tuple[str, ...] = (
            "is_depthwise", "in_channels", "out_channels", "stride", "kernel", "weights",
            "input_size", "index", "previous_bits", *(("is_activation",) if is_linear else ()),
        )  # fmt: skip
        layers = [graph.layer(site.layer) for site in walk.order]
        index = {
            name: place for place, name in enumerate(dict.fromkeys(s.layer for s in walk.order))
        }
        rows = [
            (
                float(layer.is_depthwise),
                layer.in_channels,
                layer.out_channels,
                layer.stride[0] if layer.stride else 0,
                layer.kernel_size[0] if layer.kernel_size else 1,
                layer_weights(graph, layer),
                input_positions(layer),
                index[layer.name],
            )
            for layer in layers
        ]
        self._static = min_max_by_column(np.array(rows, dtype=np.float64))  # (steps, 8)
        flags = [1.0, *(float(kind == BIT_KINDS[1]) for kind in kinds[1:])]
        self._flags = np.array(flags)[:, None] if is_linear else np.zeros((len(flags), 0))
        most = max(self._first, *(walk.space.largest[site.decisions[0]] for site in walk.order))
        top = np.maximum(self._static.max(axis=0), 1.0)
        self.highest = np.array(
            [*top, most / self._divisor, *np.ones(self._flags.shape[1])], dtype=np.float32
        )

    def observe(self, walk: LayerWalk) -> np.ndarray:
        """Describe the bits to decide now; the last ones again when the walk is done."""
        step = min(walk.steps, len(walk.order) - 1)
        bits = walk.chosen[walk.order[step - 1].decisions[0]] if step else self._first
        row = [*self._static[step], bits / self._divisor, *self._flags[step]]
        return np.array(row, dtype=np.float32)
