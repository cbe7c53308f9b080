"""A job as the client sees it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl_api.transport import Event, Json, TookTooLong
from automl_compress.core.document import PACKED_SUFFIX, PolicyDocument
from automl_compress.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from automl_api.client import Client

TERMINAL_STATES = ("succeeded", "failed", "cancelled")
EXPORTED_SUFFIXES = (".onnx", ".xml", ".pt2", ".zip")  # of files that `export` writes

_POLL_SECONDS = 0.5
_WAIT_SECONDS = 30.0  # of one request, which a proxy between might break off when it is longer


class Job:
    """A job as the service last told it.

    Attributes:
        content: the JSON object of `GET /v1/jobs/{id}`.
    """

    def __init__(self, client: "Client", content: Json) -> None:
        """Hold what the service said."""
        self._client, self.content = client, content

    @property
    def id(self) -> str:
        """The job's id."""
        return self.content["id"]

    @property
    def status(self) -> str:
        """The state when it was last told."""
        return self.content["status"]

    @property
    def is_terminal(self) -> bool:
        """Whether the job had ended when it was last told."""
        return self.status in TERMINAL_STATES

    def refresh(self) -> "Job":
        """Ask the service again."""
        self.content = self._client.get(f"/v1/jobs/{self.id}")
        return self

    def cancel(self) -> "Job":
        """End the job."""
        return self._command("cancel")

    def pause(self) -> "Job":
        """Stop the job after the trial in hand, until `resume`."""
        return self._command("pause")

    def resume(self) -> "Job":
        """Go on with a paused job."""
        return self._command("resume")

    def change(self, **changes: Any) -> "Job":
        """Change the job, also while it runs.

        Args:
            changes: `name`, `tags`, `priority`, or `effort` with `evaluations` or `wall_seconds`.

        Raises:
            ProblemError: somebody else changed it in the meantime (`changed`).
        """
        path = f"/v1/jobs/{self.id}"
        self.content = self._client.change(path, changes)
        return self

    def clone(self, **changes: Any) -> "Job":
        """Submit a copy of the job.

        Args:
            changes: `name`, `model_id`, `dataset_id`, `tags`, `priority`, and `study`, whose
                members replace those of the job's study.
        """
        return self._client.clone(self.id, changes)

    def confirm(self, number: int, **settings: Any) -> "Job":
        """Submit that another trial of this search, which has ended, is confirmed.

        Args:
            number: the trial's.
            settings: `finetune_epochs`, `formats`, `name`, as `Client.confirm` takes them.

        Raises:
            NotFound: the job has no such trial.
            ProblemError: the policy is confirmed by these settings (`confirmed-already`).
        """
        path = f"/v1/jobs/{self.id}/trials"
        for trial in self._client.get(path, after=number - 1, limit=1)["data"]:
            if trial["number"] == number:
                return self._client.confirm(trial["id"], **settings)
        raise NotFound(f"job {self.id} has no trial {number}; its `trials` lists them")

    def delete(self) -> None:
        """Delete the job, which has ended, with its trials, policies and artifacts."""
        self._client.delete(f"/v1/jobs/{self.id}")

    def stream(self, after: int = 0) -> Iterator[Event]:
        """Yield events as they happen until the job has ended; reconnects by itself."""
        last = after
        while True:
            for event in self._client.stream(f"/v1/jobs/{self.id}/events", last):
                last = max(last, event.seq)
                yield event
            if self.refresh().is_terminal and self.content["last_event_seq"] <= last:
                return
            time.sleep(_POLL_SECONDS)

    def wait(self, timeout_seconds: float | None = None) -> "Job":
        """Return when the job has ended.

        Raises:
            TookTooLong: it had not by then; the job goes on.
        """
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self._ended_within(end):
            if end is not None and time.monotonic() >= end:
                raise TookTooLong(
                    f"job {self.id} is still {self.status} after {timeout_seconds:g} s; it goes "
                    "on: wait longer, or cancel it"
                )
        return self

    def _ended_within(self, end: float | None) -> bool:
        began = time.monotonic()
        left = _WAIT_SECONDS if end is None else min(_WAIT_SECONDS, max(0.0, end - began))
        self.content = self._client.wait_for(self.id, left)
        if not self.is_terminal and time.monotonic() - began < min(left, _POLL_SECONDS):
            time.sleep(_POLL_SECONDS)  # of a service that answers at once whatever is preferred
        return self.is_terminal

    def trials(self, *, state: str | None = None, sort: str | None = None) -> Iterator[Json]:
        """Yield the trials by number, or as `sort` says: `-score`, `macs` ..."""
        return self._client.list(f"/v1/jobs/{self.id}/trials", state=state, sort=sort)

    def stages(self) -> list[Json]:
        """Return the finished stages under the recipe `micronet`, in the order of their ends."""
        return self._client.get(f"/v1/jobs/{self.id}/stages")["data"]

    def layer_sensitivity(self) -> Json:
        """Return what changing one layer alone cost, as the job's profile measured it.

        Raises:
            NotFound: the job profiled no layers.
        """
        return self._client.get(f"/v1/jobs/{self.id}/layer-sensitivity")

    def logs(self) -> Iterator[str]:
        """Yield what happened, as lines of text."""
        return self._client.lines(f"/v1/jobs/{self.id}/logs")

    def save_trials(self, path: str | Path) -> Path:
        """Write all trials to a CSV file; texts that look like formulas begin with an apostrophe.

        Raises:
            StorageFailed: the disk did not take it, or the connection broke.
        """
        return self._client.save(f"/v1/jobs/{self.id}/trials.csv", path)

    def save_report(self, path: str | Path) -> Path:
        """Write the job's report: one HTML file that needs nothing else.

        Raises:
            StorageFailed: the disk did not take it, or the connection broke.
        """
        return self._client.save(f"/v1/jobs/{self.id}/report.html", path)

    def best(self, *, max_ratio: float | None = None, metric: str | None = None) -> PolicyDocument:
        """Return the best confirmed policy.

        Args:
            max_ratio: what the network may keep of the metric; None for no limit.
            metric: which cost; None for that of the job's budget.

        Raises:
            ProblemError: nothing was confirmed that is within the limit (`nothing-fits`).
        """
        limit = {"max_ratio": max_ratio, "metric": metric}
        content = self._client.get(f"/v1/jobs/{self.id}/best", **limit)
        return PolicyDocument.from_json(content)

    def front(self, *, metric: str | None = None, fidelity: str | None = None) -> Json:
        """Return the policies that no other one beats, and the hypervolume over time.

        Args:
            metric: which cost; None for that of the job's budget.
            fidelity: `proxy` for those that the search scored, `confirmed` for those that were
                tuned and tested; None for both.
        """
        return self._client.get(f"/v1/jobs/{self.id}/front", metric=metric, fidelity=fidelity)

    def download_network(self, document: PolicyDocument, path: str | Path) -> Path:
        """Write the compressed network of one of the job's policies.

        Args:
            document: of the policy.
            path: of a safetensors file; one that ends in `.amlc` becomes the packed file.

        Raises:
            InvalidInput: the path ends as a file for an engine does.
            NotFound: the job has stored no such network.
            StorageFailed: the disk did not take it.
        """
        if Path(path).suffix in EXPORTED_SUFFIXES:
            raise InvalidInput(
                f"{Path(path).name} would hold weights in safetensors; give a path that ends in "
                f".safetensors or {PACKED_SUFFIX}, or make the file with `automl-compress export "
                f"{self.id} -o {Path(path).name}`"
            )
        is_packed, repair = Path(path).suffix == PACKED_SUFFIX, document.repair
        told = repair.packed_sha256 if is_packed else repair.weights_sha256
        wanted = (told or "").removeprefix("sha256:")
        if is_packed and not wanted:
            raise NotFound(
                f"policy {document.id} has no packed file: its weights are neither quantised nor "
                "sparse; give a path that ends in .safetensors"
            )
        for artifact in self.artifacts():
            if artifact["sha256"] == wanted:
                return self._client.download(artifact["id"], path)
        raise NotFound(
            f"job {self.id} has stored no network of policy {document.id}; fetch the policy with "
            "the job's `best`"
        )

    def artifacts(self) -> Iterator[Json]:
        """Yield the files that the job made."""
        return self._client.list("/v1/artifacts", job_id=self.id)

    def _command(self, verb: str) -> "Job":
        self.content = self._client.command(f"/v1/jobs/{self.id}/{verb}")
        return self
