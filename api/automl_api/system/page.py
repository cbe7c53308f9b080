"""A page of the latest jobs: no script, nothing from elsewhere."""

from collections.abc import Sequence
from html import escape

from automl_api.jobs.schemas import JobBody

_RELOAD_SECONDS = 3
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8885; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
a { color: inherit; }
"""
_EMPTY = """<p>No jobs yet. Submit one:</p>
<pre>automl-compress search resnet-20 digits --max-macs 50% --watch</pre>"""


def render_jobs(jobs: Sequence[JobBody]) -> str:
    """Write the page."""
    content = _table(jobs) if jobs else _EMPTY
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{_RELOAD_SECONDS}">
<link rel="icon" href="data:,">
<title>AutoML Compress: jobs</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Jobs</h1>
{content}
<p><a href="openapi.json">openapi.json</a></p>
</body>
</html>
"""


def _table(jobs: Sequence[JobBody]) -> str:
    rows = "\n".join(_row(job) for job in jobs)
    return f"""<table>
<thead><tr><th>name</th><th>state</th><th>searcher</th><th class="number">budget</th>
<th class="number">trials</th><th class="number">done</th><th class="number">best score</th>
<th class="number">time left</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""


def _row(job: JobBody) -> str:
    progress, budget = job.progress, job.study["budget"]
    best = "" if progress.best is None else f"{progress.best.score:.4f}"
    is_over = job.finished is not None or progress.eta_seconds is None
    left = "" if is_over else f"{progress.eta_seconds or 0:.0f} s"
    return (
        f'<tr><td><a href="v1/jobs/{escape(job.id)}">{escape(job.name)}</a></td>'
        f"<td>{escape(job.status)}</td><td>{escape(str(job.study['searcher']))}</td>"
        f'<td class="number">{budget["ratio"]:.0%} {escape(budget["metric"])}</td>'
        f'<td class="number">{progress.trials}</td>'
        f'<td class="number">{progress.fraction:.0%}</td>'
        f'<td class="number">{best}</td><td class="number">{left}</td></tr>'
    )
