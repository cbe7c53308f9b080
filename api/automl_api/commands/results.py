"""What the commands print of jobs and policies."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from automl_api.client import Job
from automl_api.commands.following import Following
from automl_api.commands.watching import require_success, watch
from automl_compress.core.document import PolicyDocument
from automl_compress.core.layer_rows import LayerQuantisation

LEAST_WIDTH = 130  # of the list of jobs
_ENDLESS = 100_000  # characters of a line; a name that is cut short cannot be copied


def print_json(content: Any) -> None:
    """Print a JSON document."""
    Console().out(json.dumps(content, indent=2, ensure_ascii=False), highlight=False)


def say_deleted(identity: str, is_json: bool) -> None:
    """Say what is gone."""
    if is_json:
        print_json({"id": identity, "deleted": True})
    else:
        Console().out(f"{identity} deleted", highlight=False)


def finish(job: Job, following: Following, *, is_json: bool) -> None:
    """Say that a job was submitted, and follow it where that is wanted."""
    if following.is_watching:
        watch(job, is_json=is_json)
    elif following.is_waiting or following.timeout is not None:
        require_success(job.wait(following.timeout))
    if is_json:
        if not following.is_watching:
            print_json(job.content)
        return
    console = Console(highlight=False)
    console.print(f"{job.id} {job.status}", markup=False)
    if job.status == "succeeded":
        _print_result(job, console)
    elif not job.is_terminal:
        console.print(f"follow it: automl-compress jobs watch {job.id}", markup=False)


def _print_result(job: Job, console: Console) -> None:
    told = job.content["result"]
    if job.content["kind"] == "evaluation":
        print_evaluation(told)
        return
    if job.content["kind"] == "export":
        console.print(f"made {', '.join(told['artifacts'])}", markup=False)
        console.print(f"fetch it: automl-compress export {told['policy_id']} -o FILE", markup=False)
        return
    document, study = job.best(), job.content["study"]
    print_policy(document)
    if job.content["kind"] == "search":
        print_floor(told, study.get("accuracy_floor"))
    print_front(told, study["budget"]["metric"], document)
    console.print(
        f"fetch it: automl-compress best {job.id} -o policy.json --network network.safetensors",
        markup=False,
    )


def print_policy(document: PolicyDocument) -> None:
    """Print what a policy costs and scores."""
    table = Table(box=None, pad_edge=False)
    for title in ("", "uncut", "compressed", "kept"):
        table.add_column(title, justify="right" if title else "left")
    for metric in ("macs", "parameters", "size_bytes"):
        before, after = getattr(document.before, metric), getattr(document.after, metric)
        table.add_row(metric, f"{before:,}", f"{after:,}", f"{after / before:.1%}")
    for cells in _latencies(document):
        table.add_row(*cells)
    for cells in _executions(document):
        table.add_row(*cells)
    baseline = {(row.name, row.split): row.value for row in document.baseline}
    for row in document.metrics:
        if row.name != "accuracy":
            continue
        uncut = baseline.get((row.name, row.split))
        shown = "" if uncut is None else f"{uncut:.2%}"
        split = row.split.partition(":")[0]
        table.add_row(f"accuracy on {split} ({row.fidelity})", shown, f"{row.value:.2%}", "")
    Console(highlight=False).print(table)


def print_layers(document: PolicyDocument) -> None:
    """Print what a policy makes of each layer: channels, MACs, and bits where it has some."""
    kept = {row.name: f"{len(row.kept)} of {row.channels}" for row in document.groups}
    rows = [
        (
            row.name,
            kept.get(row.group or "", ""),
            f"{row.before.macs:,}",
            f"{row.after.macs:,}",
            *_bits(row.quantisation),
        )
        for row in document.layers
    ]
    print_rows(("layer", "channels", "MACs", "after", "zeros", "weights", "inputs"), rows)


def _bits(quantisation: LayerQuantisation | None) -> tuple[str, str, str]:
    if quantisation is None:
        return "", "", ""
    told = quantisation.choice
    zeros = f"{told.sparsity:.0%}" if told.sparsity else ""
    return zeros, f"{told.weight_bits} bits", f"{told.activation_bits} bits"


def print_rows(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose lines are as long as they need to be."""
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, width=_ENDLESS).print(table)


def _latencies(document: PolicyDocument) -> Iterator[tuple[str, str, str, str]]:
    """Yield what a target's table predicts, and what was measured there."""
    before, after = document.before.latency_ns, document.after.latency_ns
    if before:
        yield "ms (predicted)", f"{before / 1e6:.3f}", f"{after / 1e6:.3f}", f"{after / before:.1%}"
    told = document.latency
    if told is not None:
        uncut, cut = f"{told['reference_cpu_ms']:.3f}", f"{told['cpu_ms']:.3f}"
        yield f"ms on {told['target']} (measured)", uncut, cut, f"{told['ratio']:.1%}"


def _executions(document: PolicyDocument) -> Iterator[tuple[str, str, str, str]]:
    """Yield how both networks run; what is a model says so."""
    if document.execution is None:
        return
    for title, uncut, cut in document.execution.figures():
        yield title, f"{uncut:,.0f}", f"{cut:,.0f}", f"{cut / uncut:.1%}" if uncut else ""
    bottlenecks = document.execution.before.bottleneck, document.execution.after.bottleneck
    yield "bottleneck, a model", *bottlenecks, ""


def print_floor(result: Mapping[str, Any], floor: float | None) -> None:
    """Print whether the best policy of a job reaches its accuracy floor, where it has one."""
    if floor is None:
        return
    reached = result["policies"][0]["search"]["accuracy"]
    verdict = "reached" if reached >= floor else "MISSED: this is the nearest policy"
    told = f"accuracy floor {floor:.2%} on search images, tuned {reached:.2%}: {verdict}"
    Console(highlight=False).print(told, markup=False)


def print_front(result: Mapping[str, Any], metric: str, best: PolicyDocument) -> None:
    """Print the policies of a job that has several; metric: of its budgets."""
    policies, full = result["policies"], getattr(best.before, metric)
    if len(policies) < 2:
        return
    table = Table(box=None, pad_edge=False)
    for title in ("policy", "trial", f"{metric} kept", "accuracy on test"):
        table.add_column(title, justify="left" if title == "policy" else "right")
    for each in policies:
        kept = each["test"]["cost"][metric] / full
        accuracy = each["test"]["accuracy"]
        table.add_row(
            each["policy_id"], str(each["trial_number"]), f"{kept:.1%}", f"{accuracy:.2%}"
        )
    Console(highlight=False).print(table)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """Print how a policy's network and the uncut one did on other data."""
    table = Table(box=None, pad_edge=False)
    for title in ("network", "accuracy", "95 % interval", "images"):
        table.add_column(title, justify="left" if title == "network" else "right")
    for network in ("uncut", "compressed"):
        told = result[network]
        low, high = told["interval"]
        interval = f"{low:.2%} to {high:.2%}"
        table.add_row(network, f"{told['accuracy']:.2%}", interval, f"{told['total']:,}")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"both say the same of {result['agreement']:.2%} of the images")


def print_jobs(jobs: Iterable[Mapping[str, Any]]) -> None:
    """Print a table of jobs."""
    table = Table(box=None, pad_edge=False)
    for title in ("id", "name", "status", "searcher", "budget", "trials", "done", "best"):
        justify = "right" if title in ("trials", "done", "best") else "left"
        table.add_column(title, justify=justify, no_wrap=True)
    for job in jobs:
        progress = job["progress"]
        best = "" if progress["best"] is None else f"{progress['best']['score']:.4f}"
        table.add_row(
            job["id"],
            job["name"],
            job["status"],
            job["study"]["searcher"] if job["kind"] == "search" else job["kind"],
            _budgets(job["study"]),
            str(progress["trials"]),
            f"{progress['fraction']:.0%}",
            best,
        )
    # An id that is cut short cannot be copied: a narrow terminal breaks the line instead.
    Console(highlight=False, width=max(Console().width, LEAST_WIDTH)).print(table)


def _budgets(study: Mapping[str, Any]) -> str:
    if not study:  # an evaluation has none
        return ""
    ratios = [study["budget"]["ratio"], *study["smaller_ratios"]]
    return f"{','.join(f'{100 * ratio:.4g}%' for ratio in ratios)} {study['budget']['metric']}"
