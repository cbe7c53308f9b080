"""A locked service with accounts, and things that belong to them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from automl_api.keys.doorkeeper import new_secret
from automl_api.settings import Settings
from automl_compress.core import Choice, Cost, Policy, StudySpec, Suggestion
from automl_compress.core.document import GroupRow, MetricRow, ModelReference, PolicyDocument
from automl_compress.costs import LatencyTable
from automl_compress.store import (
    SqlTrialStore,
    artifacts,
    datasets,
    files,
    jobs,
    keys,
    models,
    policies,
    targets,
)
from automl_compress.store.accounts import Account
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.files import NewFile
from automl_compress.store.jobs import NewJob
from automl_compress.store.trials import get, page
from tests.api.conftest import RunningService
from tests.automl_compress.store.measured import complete

OPERATOR_KEY = "the operator's own key"
DETAILS = {
    "fingerprint": {"graph": "g", "weights": "w"},
    "input_shape": [1, 8, 8],
    "num_classes": 10,
    "totals": {"macs": 10, "parameters": 10, "size_bytes": 40, "bit_operations": 10240},
    "graph": {"groups": [], "obstacles": [], "layers": []},
}
DATA_DETAILS = {
    "num_classes": 10,
    "input_shape": [1, 8, 8],
    "normalisation": {"mean": [0.5], "std": [0.5]},
    "splits": {
        name: {"images": 100, "provenance": f"rows of {name}"}
        for name in ("train", "search", "test")
    },
}
TABLE = LatencyTable("cpu-openvino", "a processor", "1", 1, ()).to_json()
STUDY: dict[str, Any] = StudySpec.from_json(
    {
        "searcher": "random",
        "budget": {"metric": "macs", "ratio": 0.5},
        "effort": {"evaluations": 10},
    }
).to_json()
HASH = f"sha256:{'0' * 64}"
DOCUMENT = PolicyDocument(
    ModelReference("net", HASH, HASH, (1, 8, 8)),
    (GroupRow("conv1", 2, (0,), "l1"),),
    before=Cost(100, 100, 400, 100 * 1024),
    after=Cost(50, 50, 200, 50 * 1024),
    metrics=(MetricRow("accuracy", 0.9, "test: rows 0-99", "confirmed", 100),),
)


def locked_settings(directory: Path, **limits: Any) -> Settings:
    return Settings(data_dir=directory, key=SecretStr(OPERATOR_KEY), **limits)


@dataclass
class Person:
    """Somebody with a key, and the ids of what belongs to them."""

    service: RunningService
    account: str
    scope: str = "write"
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.secret = new_secret()
        with self.service.database.session() as session:
            row = keys.add(
                session, self.secret, account=self.account, scope=self.scope, name="laptop"
            )
            self.key_id = row.id

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.secret}", **options.pop("headers", {})}
        return self.service.http.request(method, path, headers=headers, **options)

    def furnish(self) -> "Person":
        """Store one thing of each kind, as a finished job leaves them."""
        service, account = self.service, Account(self.account, sees_all=False)
        content = f"weights of {self.account}".encode()
        written = service.files.write(f"files/{self.account}.safetensors", [content])
        with service.database.of(account).session() as session:
            file = files.add(session, NewFile("model", "w", "safetensors"), written)
            source = {"architecture": "resnet-20", "config": {}, "weights": file.path}
            model = models.add(
                session, name="net", source=source, weights_file_id=file.id, details=DETAILS
            )
            data = datasets.add(
                session,
                name="digits",
                source={"kind": "builtin", "location": ["digits"]},
                file_id=None,
                details=DATA_DETAILS,
            )
            spec = {"model": {"fingerprint": {}}, "dataset": {}, "study": STUDY}
            job = jobs.create(session, NewJob("half", model.id, data.id, spec, {}))
            target = targets.add(session, name="camera", latency_table=TABLE)
            policy = policies.add(session, DOCUMENT.to_json(), job_id=job.id, trial_number=0)
            result = service.files.write(f"artifacts/{job.id}/a.json", [json.dumps({}).encode()])
            new = NewArtifact(job.id, "a.json", "policy", "application/json")
            artifact = artifacts.put(session, new, result)
        self.ids = {
            "file_id": file.id,
            "model_id": model.id,
            "dataset_id": data.id,
            "job_id": job.id,
            "policy_id": policy.id,
            "other_id": policy.id,
            "target_id": target.id,
            "artifact_id": artifact.id,
            "trial_id": self._trial(job.id),
            "key_id": self.key_id,
        }
        return self

    def _trial(self, job_id: str) -> str:
        store, asked = SqlTrialStore(self.service.database, job_id), _asked()
        store.asked(asked)
        store.told(complete(asked))
        with self.service.database.reading() as session:
            return get(session, page(session, job_id).rows[0].id).id


def _asked() -> Suggestion:
    return Suggestion(0, Policy((Choice("conv1", 0.5),)))
