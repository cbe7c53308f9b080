"""The synchronous client of the service."""

import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from automl_api.client_files import FileCalls
from automl_api.client_job import TERMINAL_STATES, Job
from automl_api.client_policies import PolicyCalls
from automl_api.data_uploads import uploaded_source
from automl_api.transport import (
    Event,
    Json,
    ProblemError,
    ServiceUnreachable,
    TookTooLong,
    Transport,
)

__all__ = [
    "TERMINAL_STATES",
    "Client",
    "Event",
    "Job",
    "ProblemError",
    "ServiceUnreachable",
    "TookTooLong",
]

DEFAULT_URL = "http://127.0.0.1:8000"


class Client(FileCalls, PolicyCalls):
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

    def create_model(
        self,
        architecture: str | None = None,
        *,
        program: str | Path | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        output: int = 0,
    ) -> Json:
        """Register a network: an architecture, or a program.

        Args:
            architecture: one of the capabilities' architectures.
            program: instead of it a `.pt2` file of torch.export, which is uploaded.
            name: what lists call it; None takes the architecture's or the file's.
            config: of the architecture.
            weights: safetensors or a state dict, uploaded; None leaves those that there are.
            output: number of the one that accuracy is measured on; all are kept.
        """
        body: Json = {"name": name or architecture or Path(program or "").stem, "output": output}
        if architecture is not None:
            body["architecture"] = {"name": architecture, "config": dict(config or {})}
        for field, file in (("program_file_id", program), ("weights_file_id", weights)):
            if file is not None:
                body[field] = self.upload(file)["id"]
        return self._transport.post("/v1/models", body, key=uuid.uuid4().hex)

    def models(self) -> Iterator[Json]:
        """Yield every model, the newest first."""
        return self._transport.pages("/v1/models")

    def model(self, identity: str) -> Json:
        """Return one model."""
        return self._transport.get(f"/v1/models/{identity}")

    def rename_model(self, identity: str, name: str) -> Json:
        """Give a model another name."""
        return self.change(f"/v1/models/{identity}", {"name": name})

    def sensitivity(self, model_id: str, *, dataset_id: str | None = None) -> Json:
        """Return what cutting each group of a model alone costs, as its jobs measured it."""
        return self._transport.get(f"/v1/models/{model_id}/sensitivity", dataset_id=dataset_id)

    def create_dataset(
        self,
        source: str | Path | Mapping[str, Any],
        *,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Json:
        """Register data.

        Args:
            source: the path of an npz, parquet or zip file or of a folder, which is uploaded; or
                `{"kind": "builtin", "name": "digits"}`, `{"kind": "npz", "file_id": ...}`,
                `{"kind": "zip", "file_id": ...}` or
                `{"kind": "parquet", "train_file_id": ..., "test_file_id": ...}`.
            name: what figures call it; None takes the path's.
            options: `num_classes`, `normalisation`, `augmentation`, `max_train_images`, `seed`.
        """
        if isinstance(source, str | Path):
            name = name or Path(source).absolute().stem
            source = uploaded_source(Path(source), self.upload)
        body = {"name": name or source.get("name"), "source": dict(source), **(options or {})}
        return self._transport.post("/v1/datasets", body, key=uuid.uuid4().hex)

    def datasets(self) -> Iterator[Json]:
        """Yield every data set, the newest first."""
        return self._transport.pages("/v1/datasets")

    def dataset(self, identity: str) -> Json:
        """Return one data set."""
        return self._transport.get(f"/v1/datasets/{identity}")

    def rename_dataset(self, identity: str, name: str) -> Json:
        """Give a data set another name."""
        return self.change(f"/v1/datasets/{identity}", {"name": name})

    def create_target(self, name: str, latency_table: Mapping[str, Any]) -> Json:
        """Bring a latency table, as `automl-compress measure-latency` writes it."""
        body = {"name": name, "latency_table": dict(latency_table)}
        return self._transport.post("/v1/targets", body, key=uuid.uuid4().hex)

    def estimate(self, body: Mapping[str, Any]) -> Json:
        """Return what a job would have to do: decisions, smallest cost, time; nothing is stored."""
        return self._transport.post("/v1/estimates", dict(body), is_safe=True)

    def submit(self, body: Mapping[str, Any], *, key: str | None = None) -> Job:
        """Submit a job as `POST /v1/jobs` takes it; the key makes a repetition harmless."""
        return Job(self, self._transport.post("/v1/jobs", dict(body), key=key or uuid.uuid4().hex))

    def clone(self, job_id: str, changes: Mapping[str, Any], *, key: str | None = None) -> Job:
        """Submit a copy of a job, with changes as `POST /v1/jobs/{id}/clone` takes them."""
        path = f"/v1/jobs/{job_id}/clone"
        return Job(self, self._transport.post(path, dict(changes), key=key or uuid.uuid4().hex))

    def job(self, identity: str) -> Job:
        """Return one job."""
        return Job(self, self._transport.get(f"/v1/jobs/{identity}"))

    def wait_for(self, job_id: str, seconds: float) -> Json:
        """Return a job as it is when it has ended, or after so many seconds, 60 at most."""
        return self._transport.get_waiting(f"/v1/jobs/{job_id}", max(0, math.ceil(seconds)))

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Yield jobs, the newest first unless `sort` says otherwise.

        Args:
            filters: `sort`, `status`, `kind`, `model_id`, `dataset_id`, `policy_id`, `search_id`,
                `searcher`, `text`, and `tag` as a list of `NAME:VALUE`.
        """
        for content in self._transport.pages("/v1/jobs", **filters):
            yield Job(self, content)

    def compare(self, job_ids: Sequence[str], *, metric: str | None = None) -> Json:
        """Return the joint front of jobs, their spread over seeds, and where they differ."""
        return self._transport.get("/v1/compare", job=list(job_ids), metric=metric)

    def get(self, path: str, **parameters: Any) -> Json:
        """Fetch any JSON document of the service."""
        return self._transport.get(path, **parameters)

    def me(self) -> Json:
        """Return on whose behalf this key acts, and how much of its quotas is used."""
        return self._transport.get("/v1/me")

    def keys(self) -> Iterator[Json]:
        """Yield every key of the service; for administrators."""
        return self._transport.pages("/v1/keys")

    def create_key(self, account: str, *, scope: str = "write", name: str | None = None) -> Json:
        """Make a key, whose secret is in the answer's `key` alone; for administrators."""
        wanted = {"account": account, "scope": scope, "name": name or account}
        return self._transport.post("/v1/keys", wanted, key=uuid.uuid4().hex)

    def revoke_key(self, identity: str) -> None:
        """End a key; for administrators."""
        self.delete(f"/v1/keys/{identity}")

    def change(self, path: str, changes: Mapping[str, Any]) -> Json:
        """Change anything of the service, as it stands now; refused when it changes meanwhile."""
        return self._transport.patch(path, dict(changes))

    def delete(self, path: str) -> None:
        """Delete anything of the service: `/v1/files/{id}`, models, datasets, jobs or keys."""
        self._transport.delete(path)

    def command(self, path: str) -> Json:
        """Send a POST that may be repeated without harm."""
        return self._transport.command(path)

    def list(self, path: str, **parameters: Any) -> Iterator[Json]:
        """Yield the elements of any list of the service."""
        return self._transport.pages(path, **parameters)

    def stream(self, path: str, after: int) -> Iterator[Event]:
        """Yield one connection's worth of events."""
        return self._transport.events(path, after)
