"""`automl-compress jobs change`, `clone`, `rm` and `compare`; `automl-compress diff`."""

from typing import Annotated, Any

import typer

from automl_api.commands import options, texts
from automl_api.commands.spread import spread

JobId = Annotated[str, typer.Argument(metavar="JOB")]
Evaluations = Annotated[
    float | None, typer.Option("--evaluations", min=1, help="What the search may cost in all.")
]
WallSeconds = Annotated[
    float | None, typer.Option("--wall-seconds", min=0, help="What it may cost in time.")
]
Name = Annotated[str | None, typer.Option("--name", help="What lists call it.")]


@spread
def change(
    job: JobId,
    service: options.ServiceOptions,
    evaluations: Evaluations = None,
    wall_seconds: WallSeconds = None,
    priority: options.Priority = None,
    tag: options.NewTags = None,
    name: Name = None,
    is_json: options.Json = False,
) -> None:
    """Change a job's effort, priority, name or tags, also while it runs; new tags replace all."""
    from automl_api.client import Client

    given = {"evaluations": evaluations, "wall_seconds": wall_seconds}
    effort = {each: value for each, value in given.items() if value is not None}
    changes: dict[str, Any] = {"name": name, "priority": priority, "effort": effort or None}
    changes["tags"] = texts.tags(tag) or None
    told = {each: value for each, value in changes.items() if value is not None}
    if not told:
        raise typer.BadParameter("give what is to change: --evaluations, --priority, --name ...")
    with Client(service.url, service.key) as client:
        found = client.job(job).change(**told)
    _print(found.content, is_json)


@spread
def clone(
    job: JobId,
    service: options.ServiceOptions,
    budget: options.BudgetOptions,
    searcher: Annotated[str | None, typer.Option(help="Another searcher.")] = None,
    evaluations: Evaluations = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the searcher; null removes it."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    accuracy_floor: options.AccuracyFloor = None,
    patch: Annotated[
        str,
        typer.Option(
            "--study",
            metavar="JSON",
            help="What else changes, a merge patch (RFC 7396) of the job's study: "
            '{"space": {"weight_bits": [4, 8]}}.',
        ),
    ] = "{}",
    name: Name = None,
    is_json: options.Json = False,
) -> None:
    """Submit a copy of a job, with changes."""
    from automl_api.client import Client

    study: dict[str, Any] = {"searcher": searcher, "seed": seed}
    if budget.is_given:
        study["budget"], study["smaller_ratios"] = budget.required()
    if option:
        study["searcher_options"] = texts.assignments(option, "--option")
    if accuracy_floor is not None:
        study["accuracy_floor"] = options.read_floor(accuracy_floor)
    if evaluations is not None:
        study["effort"] = {"evaluations": evaluations}
    told = {each: value for each, value in study.items() if value is not None}
    changes = {"study": _joined(told, patch), **({} if name is None else {"name": name})}
    with Client(service.url, service.key) as client:
        made = client.clone(job, changes)
    _print(made.content, is_json)


def _joined(told: dict[str, Any], patch: str) -> dict[str, Any]:
    more = texts.json_object(patch, "--study")
    for twice in sorted(more.keys() & told.keys()):
        raise typer.BadParameter(f"--study and another option both change {twice!r}; take either")
    return told | more


@spread
def rm(job: JobId, service: options.ServiceOptions, is_json: options.Json = False) -> None:
    """Delete a job that has ended, with its trials, policies and artifacts, for good."""
    from automl_api.client import Client
    from automl_api.commands.results import say_deleted

    with Client(service.url, service.key) as client:
        client.delete(f"/v1/jobs/{job}")
    say_deleted(job, is_json)


@spread
def compare(
    job: Annotated[list[str], typer.Argument(metavar="JOB...")],
    service: options.ServiceOptions,
    metric: Annotated[str | None, typer.Option(help="Of the cost; the first job's unless set.")] = (
        None
    ),
    is_json: options.Json = False,
) -> None:
    """Print the joint front of jobs."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        found = client.compare(job, metric=metric)
    if is_json:
        print_json(found)
        return
    for each in found["points"]:
        if each["is_on_front"] or each["is_confirmed"]:
            fidelity = "confirmed" if each["is_confirmed"] else "on the front"
            typer.echo(
                f"{job[each['job']]} trial {each['number']:>5}  {each['share']:>6.1%} "
                f"{found['metric']}  {each['accuracy']:.4f}  {fidelity}"
            )


@spread
def diff(
    first: Annotated[str, typer.Argument(metavar="POLICY")],
    second: Annotated[str, typer.Argument(metavar="OTHER")],
    service: options.ServiceOptions,
    is_json: options.Json = False,
) -> None:
    """Say where two stored policies differ: what each keeps of a group, and the totals."""
    from automl_api.client import Client
    from automl_api.commands.results import print_json

    with Client(service.url, service.key) as client:
        found = client.policy_diff(first, second)
    if is_json:
        print_json(found)
        return
    for metric, (one, other) in found["totals"].items():
        typer.echo(f"{metric:<16}{one:>14,}{other:>14,}{other - one:>+14,}")
    for each in found["groups"]:
        one, other = each["kept"]
        typer.echo(f"{each['name']:<40}{one:>8}{other:>8} of {each['channels']}")


def _print(content: Any, is_json: bool) -> None:
    from automl_api.commands.results import print_json

    if is_json:
        print_json(content)
    else:
        typer.echo(f"{content['id']} {content['status']}")
