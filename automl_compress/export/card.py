"""The model card: what a policy document says, for people."""

from collections.abc import Iterator

from automl_compress.core.budget import METRICS
from automl_compress.core.document import MetricRow, PolicyDocument

_TITLES = {
    "macs": "MACs",
    "parameters": "parameters",
    "size_bytes": "stored bytes",
    "bit_operations": "bit operations",
    "micronet": "MicroNet score, in billionths",
    "latency_ns": "latency of a call in ns, predicted",
}
_REPAIRS = {
    "none": "The cut alone: the weights are those of the uncut network.",
    "reconstruction": "After the cut, each layer's weights were fitted to the outputs before it.",
    "recalibration": "After the cut, the batch norms' statistics were taken anew.",
    "distillation": "After the cut, the network learned from the uncut one, for a moment.",
    "fine-tuned": "After the cut, the network was fine-tuned.",
}
_APPLY = """\
## In torch

```python
from automl_compress import apply_policy, build_network
uncut = build_network({architecture!r}, {config!r})
network = apply_policy(uncut, "policy.json", "network.safetensors")
```

{files}
"""
_FETCHED = """\
`automl-compress best JOB -o policy.json --network network.safetensors` writes both files; the
second one is the file that this card came with.\
"""
_MEASURED = """\
{speedup:.2f} times as fast as the uncut network. Processor time of one call of {images} on
{threads}, in turns with the uncut network: the median of {rounds} turns. The spread is the
standard deviation of the ratio over ten blocks of turns, as a share of it. A call took at least
{wall_ms:.3f} ms of wall time, while {load:.1f} processes wanted a processor. Engine
{engine_version} on {processor}.
"""
_PREDICTED = """\
The time above is predicted by the target's table; the finished network was not run there. Measure
it on the target before you rely on it.
"""
_BUNDLE = """\
## With ONNX Runtime

`python run.py images.npy` needs numpy and onnxruntime, nothing else. The input `images` is float32,
(B, {shape}), any B; the output is `logits`. `python run.py` repeats the outputs of `example.npz`.
Where `uncut.onnx` lies beside it, `python compare.py` measures how long the network takes by the
time of the uncut one, whose weights are zeros in that file: it is there for its time alone.
Where `report.html` lies beside it, a browser shows the search that found this policy; without it,
this page is the report.
"""
_OUTPUTS = """\
## Outputs

The network has several outputs, counted from 0. Accuracy is that of output {output}, which ONNX and
OpenVINO files and bundles hold alone; safetensors and `.pt2` files hold all. Layers that only the
others depend on are as they were; nothing was measured of what cutting the layers before them, and
tuning for output {output}, did to the others.
"""
_CAUTION = """\
## Before you use it

- {inputs}
- Half the MACs are not half the time: measure on the engine and the machine that you ship to.
- OpenVINO computes in bfloat16 on processors that offer it; set `INFERENCE_PRECISION_HINT` to `f32`
  for the outputs that were checked.
- In OpenVINO int8 sums may overflow with 8-bit weights on x86 processors without VNNI, never with
  fewer bits.
- Accuracy is that of the named images. On other data, and on any group of them, it may differ from
  the uncut network's by more.
"""


def model_card(document: PolicyDocument, *, is_bundle: bool = False) -> str:
    """Write a model card in Markdown.

    Args:
        document: of the compressed network.
        is_bundle: whether the card lies in a bundle, beside `run.py`.
    """
    model = document.model
    shape = " x ".join(map(str, model.input_shape))
    parts = [
        f"# {' '.join(model.name.split())}, compressed\n",
        f"Policy `{document.digest}`{_origin(document)}. {_REPAIRS[document.repair.method]}\n",
        _costs(document),
        _latency(document),
        _accuracies(document),
        _groups(document),
        _layers(document),
    ]
    if is_bundle:
        parts.append(_BUNDLE.format(shape=", ".join(map(str, model.input_shape))))
    if model.architecture is not None:
        files = "Both files lie beside this page." if is_bundle else _FETCHED
        config = dict(model.config)
        parts.append(_APPLY.format(architecture=model.architecture, config=config, files=files))
    if model.output is not None:
        parts.append(_OUTPUTS.format(output=model.output))
    parts.append(_CAUTION.format(inputs=_inputs(document)))
    parts.append(f"One input is {shape}. Made of the weights `{model.weights_fingerprint}`.\n")
    return "\n".join(parts)


def _origin(document: PolicyDocument) -> str:
    known = document.provenance
    told = [f"{name} {known[name]}" for name in ("searcher", "seed", "data") if name in known]
    moment = [] if document.created is None else [document.created[:10]]
    return f" ({', '.join([*moment, *told])})" if told or moment else ""


def _inputs(document: PolicyDocument) -> str:
    """Say what the network expects of an input."""
    told = document.provenance.get("normalisation")
    if not isinstance(told, dict) or not {"mean", "std"} <= told.keys():  # of a brought document
        return "Inputs must be normalised as for the uncut network."
    return (
        f"Inputs are normalised channel by channel: values of 0 to 255 divided by 255, less "
        f"{told['mean']}, divided by {told['std']}."
    )


def _table(titles: str, rows: Iterator[str]) -> str:
    columns = titles.count("|") + 1
    line = "| " + " | ".join(["---"] + ["---:"] * (columns - 1)) + " |"
    return "\n".join([f"| {titles} |", line, *(f"| {row} |" for row in rows)]) + "\n"


def _costs(document: PolicyDocument) -> str:
    def rows() -> Iterator[str]:
        for metric in METRICS:
            before, after = document.before.of(metric), document.after.of(metric)
            if metric == "latency_ns" and not before:  # no target was named
                continue
            kept = f"{after / before:.1%}" if before else ""
            yield f"{_TITLES.get(metric, metric)} | {before:,} | {after:,} | {kept}"
        for title, uncut, cut in document.execution.figures() if document.execution else ():
            kept = f"{cut / uncut:.1%}" if uncut else ""
            yield f"{title} | {uncut:,.0f} | {cut:,.0f} | {kept}"

    return "## Costs of one input\n\n" + _table(" | uncut | compressed | kept", rows())


def _latency(document: PolicyDocument) -> str:
    """Say what the finished network's time was, and how it was measured."""
    told = document.latency
    if told is None:
        return _PREDICTED if document.before.latency_ns else ""
    batch, threads = told["plan"]["batch"], told["threads"]
    target, processor, version = (
        " ".join(told[name].split()) for name in ("target", "processor", "engine_version")
    )
    row = (
        f"{target}, batch {batch} | {told['reference_cpu_ms']:.3f} | {told['cpu_ms']:.3f} | "
        f"{told['ratio']:.1%} | {told['spread']:.1%}"
    )
    how = _MEASURED.format(
        speedup=1 / told["ratio"],
        images="1 image" if batch == 1 else f"{batch:,} images",
        threads="1 thread" if threads == 1 else f"{threads} threads",
        rounds=told["rounds"],
        wall_ms=told["wall_ms"],
        load=told["load"],
        engine_version=version,
        processor=processor,
    )
    table = _table("ms of a call | uncut | compressed | ratio | spread", iter([row]))
    return f"## Measured latency\n\n{table}\n{how}"


def _accuracies(document: PolicyDocument) -> str:
    def rows() -> Iterator[str]:
        for whose, metrics in (("uncut", document.baseline), ("compressed", document.metrics)):
            for row in metrics:
                yield f"{whose}, {row.fidelity} | {row.value:.2%} | {_interval(row)} | {row.split}"

    if not document.baseline and not document.metrics:
        return "No accuracy was measured.\n"
    return (
        "## Accuracy\n\nA *confirmed* figure is of the finished network, a *proxy* one of the "
        "network as the search scored it. The search saw the search split, so that only the test "
        "split tells what to expect of new images.\n\n"
        + _table("network | accuracy | 95 % interval | images", rows())
    )


def _interval(row: MetricRow) -> str:
    if row.interval is None:
        return ""
    return f"{row.interval[0]:.1%} to {row.interval[1]:.1%} of {row.total:,}"


def _layers(document: PolicyDocument) -> str:
    def rows() -> Iterator[str]:
        for row in document.layers:
            if row.quantisation is not None:
                choice = row.quantisation.choice
                yield (
                    f"`{row.name}` | {choice.weight_bits} | {choice.activation_bits} | "
                    f"{choice.sparsity:.0%} | {choice.quantiser} | {choice.weight_scales}"
                )

    found = list(rows())
    if not found:
        return ""
    return "## What was quantised\n\n" + _table(
        "layer | weight bits | input bits | zero weights | quantiser | a scale for each",
        iter(found),
    )


def _groups(document: PolicyDocument) -> str:
    def rows() -> Iterator[str]:
        for row in document.groups:
            yield f"`{row.name}` | {row.channels} | {len(row.kept)} | {row.criterion}"

    return "## What was cut\n\n" + _table("coupled channels | uncut | kept | chosen by", rows())
