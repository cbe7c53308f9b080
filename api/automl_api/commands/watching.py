"""Shows a job while it runs: trial, best so far, time left."""

import json
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from automl_api.client import Event, Job
from automl_api.commands.failure import JobFailed
from automl_api.transport import Json

_PHASES = {
    "queued": "waiting",
    "validating": "loading",
    "profiling": "profiling",
    "running": "searching",
    "finalizing": "confirming",
}
_LINE_EVERY = 10  # trials, where there is no terminal to draw on


class _TimeLeft(ProgressColumn):
    """The time left as the search says it."""

    def render(self, task: Task) -> Text:
        """Return the cell."""
        left = task.fields.get("left")
        return Text("" if left is None else f"{left:>4.0f} s left")


class Display:
    """One line for one job, redrawn in place; plain lines where there is no terminal."""

    def __init__(self, console: Console, title: str, evaluations: float) -> None:
        """Prepare; nothing is drawn yet."""
        self._console, self._title = console, title
        self._epoch = ""  # of a PruningNet, the last one that has its line
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(16),
            TextColumn("{task.fields[trials]}", markup=False),
            TextColumn("{task.fields[best]}", markup=False),
            _TimeLeft(),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            f"{title}: {_PHASES['queued']}", total=evaluations, trials="", best="", left=None
        )

    def __enter__(self) -> "Display":
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Take in an event."""
        if event.type == "job.status":
            self._show_phase(str(event.data.get("state")))
        elif event.type in ("trial.completed", "trial.failed"):
            self._show_trial(event)
        elif event.type == "pruning_net.progress":
            self._show_training(event)
        elif event.type == "stage.finished":
            self._show_stage(event)

    def _show_phase(self, state: str) -> None:
        phase = _PHASES.get(state)
        if phase is None:
            return
        self._progress.update(self._task, description=f"{self._title}: {phase}", left=None)
        if not self._console.is_terminal:
            self._console.print(f"{self._title}: {phase}", markup=False, highlight=False)

    def _show_training(self, event: Event) -> None:
        data = event.data
        epoch = f"epoch {data['epoch']} of {data['epochs']}"
        trials, best = f"PruningNet, {epoch}", f"{data['share']:.0%}"
        left = data["eta_seconds"]
        self._progress.update(self._task, trials=trials, best=best, left=left)
        if not self._console.is_terminal and epoch != self._epoch:
            self._epoch = epoch
            line = f"{self._title}: training the {trials}, {left:.0f} s left"
            self._console.print(line, markup=False, highlight=False)

    def _show_stage(self, event: Event) -> None:
        number, stage = event.data["trial_number"], event.data["stage"]
        measured = event.data["measurement"]
        network = "the uncut network" if number is None else f"trial {number}"
        score = measured["cost"]["micronet"] / 1e9
        told = f"{network} behind {stage}: score {score:.6f}, {measured['accuracy']:.2%}"
        self._console.print(f"{self._title}: {told}", markup=False, highlight=False)

    def _show_trial(self, event: Event) -> None:
        data = event.data
        spent, left = float(data.get("evaluations") or 0.0), data.get("eta_seconds")
        best = ""
        if data.get("best_score") is not None:
            best = f"best {data['best_score']:.4f} in trial {data['best_number']}"
        trials = f"trial {data.get('trials_done')}"
        self._progress.update(self._task, completed=spent, trials=trials, best=best, left=left)
        is_line = int(data.get("trials_done") or 0) % _LINE_EVERY == 0
        if is_line and not self._console.is_terminal:
            time_left = "" if left is None else f"{left:.0f} s left"
            told = ", ".join(part for part in (trials, best, time_left) if part)
            self._console.print(f"{self._title}: {told}", markup=False, highlight=False)


def watch(job: Job, *, is_json: bool = False) -> Job:
    """Follow a job to its end.

    Raises:
        JobFailed: it failed, or was cancelled.
    """
    if is_json:
        for event in job.stream():
            line = {"seq": event.seq, "type": event.type, "at": event.at, "data": event.data}
            Console().out(json.dumps(line), highlight=False)
    else:
        limit = float(job.content["progress"]["evaluations_limit"] or 1.0)  # none to score
        with Display(Console(stderr=True), str(job.content["name"]), limit) as display:
            for event in job.stream():
                display.show(event)
    return require_success(job.refresh())


def require_success(job: Job) -> Job:
    """Return a job that succeeded.

    Raises:
        JobFailed: it failed, or was cancelled.
    """
    if job.is_terminal and job.status != "succeeded":
        error: Json = job.content.get("error") or {}
        reason = error.get("detail") or job.content.get("stop_reason") or "no reason was stored"
        raise JobFailed(f"job {job.id} has {_ended(job.status)}: {reason}")
    return job


def _ended(status: str) -> str:
    return "failed" if status == "failed" else f"been {status}"
