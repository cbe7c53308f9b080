"""The table that the demo ends with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.table import Table

from automl_compress.core import Cost
from automl_compress.core.document import MetricRow, PolicyDocument
from automl_compress.core.errors import NotFound


@dataclass(frozen=True)
class Outcome:
    """What a search of the demo gave: the job, its best policy, and where the files lie."""

    job: Mapping[str, Any]
    document: PolicyDocument
    policy_path: Path
    network_path: Path


def print_report(console: Console, outcomes: Mapping[str, Outcome], seconds: float) -> None:
    """Print the table, where the files lie, and how to apply the policy."""
    best, uniform = outcomes["amc"], outcomes["uniform"].document
    before = best.document.before
    table = Table(box=None, pad_edge=False)
    for title in ("", "accuracy", "95 % interval", "MACs", "kept", "parameters", "bytes"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    table.add_row("uncut", *_cells(_accuracy(best.document.baseline), before, before))
    table.add_row(
        "uniform",
        *_cells(_accuracy(uniform.metrics), uniform.after, before),
    )
    table.add_row(
        "best (amc)",
        *_cells(_accuracy(best.document.metrics), best.document.after, before),
        style="bold",
    )
    console.print()
    console.print(table)
    trials = best.job["progress"]["trials"]
    images = _accuracy(best.document.metrics).total
    console.print(
        f"\nAccuracy is on {images} test images that neither the search nor the tuning saw; the "
        f"three\nnetworks were tuned alike on 1,000 others. {trials} policies were evaluated on "
        f"397 more.\n{seconds:.0f} s in all.\n",
        soft_wrap=True,
    )
    console.print(f"policy:  {best.policy_path}\nnetwork: {best.network_path}", soft_wrap=True)
    console.print("\nApply it anywhere, without the service:\n", markup=False)
    console.print(indent(snippet(best), "    "), markup=False, soft_wrap=True)


def snippet(outcome: Outcome) -> str:
    """Return the three lines of Python that make the smaller network."""
    model = outcome.document.model
    return "\n".join(
        (
            "from automl_compress import apply_policy, build_network",
            f"uncut = build_network({model.architecture!r}, {dict(model.config)!r})",
            f'network = apply_policy(uncut, "{outcome.policy_path}", "{outcome.network_path}")',
        )
    )


def report_content(outcomes: Mapping[str, Outcome], seconds: float) -> dict[str, Any]:
    """Return the same as a JSON object."""
    best = outcomes["amc"]
    return {
        "seconds": seconds,
        "baseline": _figures(_accuracy(best.document.baseline), best.document.before),
        **{
            name: {
                **_figures(_accuracy(each.document.metrics), each.document.after),
                "trials": each.job["progress"]["trials"],
                "policy": str(each.policy_path),
                "snippet": snippet(each),
                "network": str(each.network_path),
            }
            for name, each in outcomes.items()
        },
    }


def _figures(accuracy: MetricRow, cost: Cost) -> dict[str, Any]:
    return {
        "accuracy": accuracy.value,
        "interval": accuracy.interval,
        "images": accuracy.total,
        "split": accuracy.split,
        **cost.to_json(),
    }


def _cells(accuracy: MetricRow, cost: Cost, before: Cost) -> list[str]:
    interval = accuracy.interval
    shown = "" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
    return [
        f"{accuracy.value:.2%}",
        shown,
        f"{cost.macs:,}",
        f"{cost.macs / before.macs:.1%}",
        f"{cost.parameters:,}",
        f"{cost.size_bytes:,}",
    ]


def _accuracy(rows: tuple[MetricRow, ...]) -> MetricRow:
    """Return the accuracy on the test split."""
    for row in rows:
        if row.name == "accuracy" and row.split.startswith("test"):
            return row
    raise NotFound("the policy document has no accuracy on the test split; report this")
