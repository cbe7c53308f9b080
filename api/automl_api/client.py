"""The synchronous client of the service."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from automl_api.transfers import chunks_of, receive
from automl_api.transport import (
    Event,
    Json,
    ProblemError,
    ServiceUnreachable,
    TookTooLong,
    Transport,
)
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import InvalidInput, NotFound, StorageFailed

__all__ = ["Client", "Event", "Job", "ProblemError", "ServiceUnreachable", "TookTooLong"]

DEFAULT_URL = "http://127.0.0.1:8000"
TERMINAL_STATES = ("succeeded", "failed", "cancelled")

_POLL_SECONDS = 0.5


class Client:
    """Talks to one service.

    Only calls that can be repeated without harm are repeated when the connection fails; every
    job is submitted under an idempotency key, so that it is never created twice.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, timeout_seconds: float = 60.0
    ) -> None:
        """Choose the service.

        Args:
            url: its address; None takes AUTOML_COMPRESS_URL, or loopback's port 8000.
            key: its key; None takes AUTOML_COMPRESS_KEY.
            timeout_seconds: how long one answer may take.
        """
        address = url or os.environ.get("AUTOML_COMPRESS_URL") or DEFAULT_URL
        secret = key or os.environ.get("AUTOML_COMPRESS_KEY") or None
        self._transport = Transport(address, secret, timeout_seconds)

    @property
    def url(self) -> str:
        """The service's address."""
        return self._transport.url

    def __enter__(self) -> "Client":
        """Use the client in a `with` statement, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def health(self) -> Json:
        """Return whether the service answers."""
        return self._transport.get("/v1/health")

    def capabilities(self) -> Json:
        """Return what the service offers: searchers, architectures, data, limits, versions."""
        return self._transport.get("/v1/capabilities")

    def upload(self, path: str | Path) -> Json:
        """Upload a safetensors, pt2, npz or parquet file; equal content gives the same file."""
        file = Path(path)
        if not file.is_file():
            raise InvalidInput(f"there is no file {file}; give the path of a file to upload")
        return self._transport.send("/v1/files", chunks_of(file), name=file.name)

    def create_model(
        self,
        architecture: str | None = None,
        *,
        program: str | Path | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
    ) -> Json:
        """Register a network: an architecture, or a program.

        Args:
            architecture: one of the capabilities' architectures.
            program: instead of it a `.pt2` file of torch.export, which is uploaded.
            name: what lists call it; None takes the architecture's or the file's.
            config: fields of the architecture's config.
            weights: a safetensors file, which is uploaded; None leaves those that there are.
        """
        body: dict[str, Any] = {"name": name or architecture or Path(program or "").stem}
        if architecture is not None:
            body["architecture"] = {"name": architecture, "config": dict(config or {})}
        if program is not None:
            body["program_file_id"] = self.upload(program)["id"]
        if weights is not None:
            body["weights_file_id"] = self.upload(weights)["id"]
        return self._transport.post("/v1/models", body, key=uuid.uuid4().hex)

    def models(self) -> Iterator[Json]:
        """Yield every model, the newest first."""
        return self._transport.pages("/v1/models")

    def model(self, identity: str) -> Json:
        """Return one model."""
        return self._transport.get(f"/v1/models/{identity}")

    def sensitivity(self, model_id: str, *, dataset_id: str | None = None) -> Json:
        """Return what cutting each group of a model alone costs, as its jobs measured it."""
        return self._transport.get(f"/v1/models/{model_id}/sensitivity", dataset_id=dataset_id)

    def create_dataset(
        self, source: Mapping[str, Any], *, name: str, options: Mapping[str, Any] | None = None
    ) -> Json:
        """Register data.

        Args:
            source: `{"kind": "builtin", "name": "digits"}`, `{"kind": "npz", "file_id": ...}` or
                `{"kind": "parquet", "train_file_id": ..., "test_file_id": ...}`.
            name: what figures call it.
            options: `num_classes`, `normalisation`, `max_train_images`.
        """
        body = {"name": name, "source": dict(source), **(options or {})}
        return self._transport.post("/v1/datasets", body, key=uuid.uuid4().hex)

    def datasets(self) -> Iterator[Json]:
        """Yield every data set, the newest first."""
        return self._transport.pages("/v1/datasets")

    def dataset(self, identity: str) -> Json:
        """Return one data set."""
        return self._transport.get(f"/v1/datasets/{identity}")

    def submit(self, body: Mapping[str, Any], *, key: str | None = None) -> "Job":
        """Submit a job as `POST /v1/jobs` takes it; the key makes a repetition harmless."""
        return Job(self, self._transport.post("/v1/jobs", dict(body), key=key or uuid.uuid4().hex))

    def job(self, identity: str) -> "Job":
        """Return one job."""
        return Job(self, self._transport.get(f"/v1/jobs/{identity}"))

    def jobs(self, *, status: str | None = None, model_id: str | None = None) -> Iterator["Job"]:
        """Yield jobs, the newest first."""
        for content in self._transport.pages("/v1/jobs", status=status, model_id=model_id):
            yield Job(self, content)

    def policy(self, identity: str) -> PolicyDocument:
        """Return one policy."""
        return PolicyDocument.from_json(self._transport.get(f"/v1/policies/{identity}"))

    def artifact(self, identity: str) -> Json:
        """Return what is known of one artifact."""
        return self._transport.get(f"/v1/artifacts/{identity}")

    def download(self, artifact_id: str, path: str | Path) -> Path:
        """Write an artifact's content to a file, whole or not at all.

        Raises:
            StorageFailed: the disk did not take it, or it arrived damaged.
        """
        target, expected = Path(path), self.artifact(artifact_id)["size_bytes"]
        try:
            return receive(
                target, self._transport.download(f"/v1/artifacts/{artifact_id}/content"), expected
            )
        except OSError as error:
            raise StorageFailed(f"{target} cannot be written: {error}") from error

    def get(self, path: str, **parameters: Any) -> Json:
        """Fetch any JSON document of the service."""
        return self._transport.get(path, **parameters)

    def command(self, path: str) -> Json:
        """Send a POST that may be repeated without harm."""
        return self._transport.command(path)

    def list(self, path: str, **parameters: Any) -> Iterator[Json]:
        """Yield the elements of any list of the service."""
        return self._transport.pages(path, **parameters)

    def stream(self, path: str, after: int) -> Iterator[Event]:
        """Yield one connection's worth of events."""
        return self._transport.events(path, after)


class Job:
    """A job as the service last told it.

    Attributes:
        content: the JSON object of `GET /v1/jobs/{id}`.
    """

    def __init__(self, client: Client, content: Json) -> None:
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
        while not self.refresh().is_terminal:
            if end is not None and time.monotonic() >= end:
                raise TookTooLong(
                    f"job {self.id} is still {self.status} after {timeout_seconds:g} s; it goes "
                    "on: wait longer, or cancel it"
                )
            time.sleep(_POLL_SECONDS)
        return self

    def trials(self, *, state: str | None = None) -> Iterator[Json]:
        """Yield the trials by number."""
        return self._client.list(f"/v1/jobs/{self.id}/trials", state=state)

    def best(self, *, max_macs_ratio: float | None = None) -> PolicyDocument:
        """Return the best policy, confirmed ones first.

        Raises:
            ProblemError: nothing was measured that is within the limit (`nothing-fits`).
        """
        content = self._client.get(f"/v1/jobs/{self.id}/best", max_macs_ratio=max_macs_ratio)
        return PolicyDocument.from_json(content)

    def download_network(self, document: PolicyDocument, path: str | Path) -> Path:
        """Write the compressed network of one of the job's policies to a safetensors file.

        Raises:
            NotFound: the job has stored no such network.
            StorageFailed: the disk did not take it.
        """
        wanted = (document.repair.weights_sha256 or "").removeprefix("sha256:")
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
