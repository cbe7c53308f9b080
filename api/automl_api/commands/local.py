"""Shows a search that runs in this process."""

import typer
from rich.console import Console

from automl_api.commands.results import print_floor, print_front, print_json, print_policy
from automl_api.commands.watching import Display
from automl_api.local_run import RunRequest, run_locally


def run_and_show(request: RunRequest, *, is_json: bool) -> None:
    """Run a search with a progress line, then print its policy."""
    evaluations = request.study.effort.evaluations
    console = Console(stderr=True, quiet=is_json)
    with Display(console, request.name, evaluations) as display:
        result = run_locally(request, display.show)
    if is_json:
        paths = [str(path) for path in result.paths]
        print_json({"policy": result.document.to_json(), "files": paths, "result": result.result})
        return
    print_policy(result.document)
    print_floor(result.result, request.study.accuracy_floor)
    print_front(result.result, request.study.budget.metric, result.document)
    for path in result.paths:
        typer.echo(f"wrote {path}")
