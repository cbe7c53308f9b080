"""A hand-made network and an evaluator by formula: no torch, no images, no waiting."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from automl_compress.core import (
    Budget,
    ChannelGroup,
    CompressionSpace,
    Cost,
    Effort,
    Layer,
    LayerGraph,
    Measurement,
    Metric,
    Policy,
    Recipe,
    SearchProblem,
    SpaceOptions,
    StoredTensor,
    Width,
)
from automl_compress.costs import compression_space

CLASSES = 10
IMAGES = 10_000


@dataclass
class FixedClock:
    """Shows the time that a test sets."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class GraphDraft:
    """Collects layers and groups; a group's channels may have several producers."""

    layers: list[Layer] = field(default_factory=list)
    tensors: list[StoredTensor] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    producers: list[list[str]] = field(default_factory=list)
    consumers: list[list[str]] = field(default_factory=list)

    def group(self, name: str, channels: int) -> int:
        self.names.append(name)
        self.channels.append(channels)
        self.producers.append([])
        self.consumers.append([])
        return len(self.channels) - 1

    def convolution(
        self,
        name: str,
        source: int | None,
        target: int,
        size: int,
        kernel: int = 3,
        stride: int = 1,
        is_depthwise: bool = False,
    ) -> None:
        inputs = 3 if source is None else self.channels[source]
        if source is not None:
            self.consumers[source].append(name)
        self.producers[target].append(name)
        if is_depthwise:
            input_axis = Width(1)
        else:
            input_axis = Width(3) if source is None else Width(0, ((source, 1),))
        axes = (Width(0, ((target, 1),)), input_axis, Width(kernel), Width(kernel))
        self.tensors.append(StoredTensor(f"{name}.weight", axes, 4, True, size * size))
        self.tensors.append(StoredTensor(f"{name}.bias", (Width(0, ((target, 1),)),), 4, True))
        self.layers.append(
            Layer(
                name,
                "convolution",
                "Conv2d",
                f"{name}.weight",
                (kernel, kernel),
                (stride, stride),
                inputs if is_depthwise else 1,
                inputs,
                self.channels[target],
                (size, size),
                1,
                source,
                target,
            )
        )

    def classifier(self, source: int) -> None:
        self.consumers[source].append("classifier")
        axes = (Width(CLASSES), Width(0, ((source, 1),)))
        self.tensors.append(StoredTensor("classifier.weight", axes, 4, True, 1))
        channels = self.channels[source]
        self.layers.append(
            Layer(
                "classifier", "linear", "Linear", "classifier.weight",
                (), (), 1, channels, CLASSES, (), 1, source, None,
            )
        )  # fmt: skip

    def graph(self) -> LayerGraph:
        groups = tuple(
            ChannelGroup(*content)
            for content in zip(
                self.names,
                self.channels,
                map(tuple, self.producers),
                map(tuple, self.consumers),
                strict=True,
            )
        )
        edges = tuple((index, index + 1) for index in range(len(self.layers) - 1))
        return LayerGraph((3, 16, 16), tuple(self.layers), edges, groups, tuple(self.tensors))


def residual_graph(widths: Sequence[int] = (16, 32, 64), depthwise: bool = True) -> LayerGraph:
    """Three stages of two residual blocks: 9 groups; the last block may be depthwise."""
    draft = GraphDraft()
    stage = draft.group("stem", widths[0])
    draft.convolution("stem", None, stage, 16)
    for number, channels in enumerate(widths):
        size = 16 >> number
        if number:
            before, stage = stage, draft.group(f"stage{number}", channels)
            draft.convolution(f"stage{number}", before, stage, size, kernel=1, stride=2)
        for block in range(2):
            inner = draft.group(f"stage{number}.block{block}.first", channels)
            name = f"stage{number}.block{block}"
            draft.convolution(f"{name}.first", stage, inner, size)
            if depthwise and (number, block) == (2, 1):
                draft.convolution(f"{name}.depthwise", inner, inner, size, is_depthwise=True)
            draft.convolution(f"{name}.second", inner, stage, size)
    draft.classifier(stage)
    return draft.graph()


def plain_graph(widths: Sequence[int] = (8,)) -> LayerGraph:
    """One convolution after the other, one group each."""
    draft = GraphDraft()
    source = None
    for number, channels in enumerate(widths):
        target = draft.group(f"convolution{number}", channels)
        draft.convolution(f"convolution{number}", source, target, 8)
        source = target
    assert source is not None
    draft.classifier(source)
    return draft.graph()


def space_of(graph: LayerGraph, **options: object) -> CompressionSpace:
    return compression_space(graph, SpaceOptions(**options))  # type: ignore[arg-type]


def problem_of(
    graph: LayerGraph | None = None,
    ratio: float = 0.5,
    evaluations: float = 40,
    seed: int = 0,
    metric: Metric = "macs",
    **options: object,
) -> SearchProblem:
    space = space_of(graph or residual_graph(), **options)
    return SearchProblem(
        space,
        Budget(metric, ratio),
        Effort(evaluations),
        seed,
        lambda: importance_of(space.graph),
        images=IMAGES,
    )


def importance_of(graph: LayerGraph) -> list[list[float]]:
    """Made-up scores of every channel; those of group g are about g + 1."""
    return [
        np.random.default_rng(index).lognormal(np.log(index + 1.0), 0.5, group.channels).tolist()
        for index, group in enumerate(graph.groups)
    ]


class FormulaEvaluator:
    """Accuracy = 0.9 - sum over groups of sensitivity * sparsity^2 - layers' losses, at least 0.1.

    A layer loses its sensitivity times (sparsity^2 + 2^(1 - weight bits) + 2^(1 - activation
    bits)). Sensitivities are drawn once from a log-normal distribution; each kind's sum to 1.
    """

    def __init__(self, space: CompressionSpace, seed: int = 0, evaluations: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        drawn = rng.lognormal(0.0, 1.0, len(space.graph.groups))
        self.sensitivity = drawn / drawn.sum()
        layers = [layer.name for layer in space.graph.layers if layer.kind != "other"]
        drawn = rng.lognormal(0.0, 1.0, len(layers))
        self.layer_sensitivity = dict(zip(layers, drawn / drawn.sum(), strict=True))
        self.space, self.evaluations = space, evaluations
        self.calls: list[Policy] = []

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        self.calls.append(policy)
        start, stop, _ = (images or slice(None)).indices(IMAGES)
        sparsity = np.array([choice.sparsity for choice in policy.choices])
        loss = float(self.sensitivity @ sparsity**2)
        for choice in policy.layers:
            noise = choice.sparsity**2 + 2.0 ** (1 - choice.weight_bits)
            noise += 2.0 ** (1 - choice.activation_bits)
            loss += self.layer_sensitivity[choice.layer] * noise
        accuracy = max(0.9 - loss, 0.1)
        return measurement_of(
            self.space.costs.cost(self.space.setting(policy)),
            accuracy,
            evaluations=self.evaluations * (stop - start) / IMAGES,
            total=stop - start,
        )


def measurement_of(
    cost: Cost, accuracy: float, evaluations: float = 1.0, total: int = IMAGES
) -> Measurement:
    return Measurement(
        cost=cost,
        score=accuracy,
        correct=round(accuracy * total),
        total=total,
        cross_entropy=1.0 - accuracy,
        kl=(1.0 - accuracy) / 2,
        split="search: made up",
        fidelity="proxy" if total == IMAGES else "subset",
        recipe=Recipe(),
        seed=0,
        evaluations=evaluations,
        wall_seconds=0.0,
        cpu_seconds=0.0,
    )
