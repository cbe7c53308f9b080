"""Which decisions of a space a searcher varies, and how their values are worded in notes."""

from automl_compress.core import CompressionSpace, Metric
from automl_compress.core.decision import Decision


def open_decisions(space: CompressionSpace, metric: Metric) -> list[int]:
    """Return the places of the decisions that have a choice which this metric counts.

    Any other keeps its largest value, which costs nothing and loses least: the bits of
    activations, for instance, where bytes are limited.
    """
    return [
        place
        for place, decision in enumerate(space.decisions)
        if len(decision.allowed) > 1
        and (decision.kind == "width" or _is_counted(space, metric, place))
    ]


def _is_counted(space: CompressionSpace, metric: Metric, place: int) -> bool:
    for setting in (space.largest, space.smallest):
        costs = {
            space.costs.cost([*setting[:place], value, *setting[place + 1 :]]).of(metric)
            for value in (space.allowed[place][0], space.allowed[place][-1])
        }
        if len(costs) > 1:
            return True
    return False


def worded(decision: Decision, value: int) -> str:
    """Say a value in words."""
    return {
        "width": f"{value} of {decision.full} channels",
        "density": f"{value} % of its weights",
        "weight_bits": f"{value}-bit weights",
        "activation_bits": f"{value}-bit inputs",
    }[decision.kind]


def refusal_of_layers(space: CompressionSpace) -> str | None:
    """Say why a searcher of channels alone cannot serve this space; None where it can."""
    options = space.options
    if not options.has_layer_decisions:
        return None
    opened = [
        name
        for name, is_open in (
            ("schemes 'element'", "element" in options.schemes),
            ("weight_bits", bool(options.weight_bits)),
            ("activation_bits", bool(options.activation_bits)),
        )
        if is_open
    ]
    return (
        f"it decides on channels alone, and this search opens {', '.join(opened)}; "
        "leave that out of the space"
    )
