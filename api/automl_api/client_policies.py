"""What the client asks of trials and policies."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from automl_api.client_job import Job
from automl_api.transport import Json, ProblemError, Transport
from automl_compress.core.document import PolicyDocument

if TYPE_CHECKING:
    from automl_api.client import Client


class PolicyCalls:
    """The part of the client that is about trials and policies."""

    _transport: Transport

    def confirm(
        self,
        trial_id: str,
        *,
        finetune_epochs: int | None = None,
        formats: Sequence[str] | None = None,
        name: str | None = None,
        key: str | None = None,
    ) -> Job:
        """Submit that a trial of a search that has ended is cut, tuned and scored on test images.

        Args:
            trial_id: of a trial with a score.
            finetune_epochs: None tunes as the search did.
            formats: of files for engines; None writes those that the search did.
            name: what lists call the job; None takes that of the search and the trial.
            key: makes a repetition harmless.

        Raises:
            ProblemError: the policy is confirmed by these settings (`confirmed-already`); its
                document names the `job_id` and the `policy_id` that are there.
        """
        told = {
            "finetune_epochs": finetune_epochs,
            "formats": None if formats is None else list(formats),
            "name": name,
        }
        path = f"/v1/trials/{trial_id}/confirm"
        return self._submitted(path, told, key)

    def micronet(
        self, model_id: str, dataset_id: str, *, key: str | None = None, **settings: Any
    ) -> Job:
        """Submit that a network goes through the stages of the MicroNet Challenge's winners.

        Args:
            model_id: of the network.
            dataset_id: of the data.
            key: makes a repetition harmless.
            settings: as `POST /v1/models/{id}/micronet` takes them: `searcher`, `evaluations`,
                `hand_set`, `shares`, `floor_points`, `finetune_epochs`, `precision` ...
        """
        path = f"/v1/models/{model_id}/micronet"
        return self._submitted(path, {"dataset_id": dataset_id, **settings}, key)

    def evaluate(
        self,
        policy_id: str,
        dataset_id: str,
        *,
        split: str = "test",
        name: str | None = None,
        key: str | None = None,
    ) -> Job:
        """Submit that a policy's network, and the uncut one, are scored on other data.

        Args:
            policy_id: of a stored policy.
            dataset_id: of registered data.
            split: `test`, `search`, `train`, or `all` of them.
            name: what lists call the job; None takes that of the search and of the data.
            key: makes a repetition harmless.
        """
        body = {"dataset_id": dataset_id, "split": split, "name": name}
        path = f"/v1/policies/{policy_id}/evaluate"
        return self._submitted(path, body, key)

    def policy_diff(self, first: str, second: str) -> Json:
        """Return where two policies differ, group by group and layer by layer."""
        return self._transport.get(f"/v1/policies/{first}/diff/{second}")

    def policy(self, identity: str) -> PolicyDocument:
        """Return one policy."""
        return PolicyDocument.from_json(self._transport.get(f"/v1/policies/{identity}"))

    def bring_policy(
        self,
        policy: str | Path | PolicyDocument,
        model_id: str,
        *,
        weights: str | Path | None = None,
    ) -> Json:
        """Store a policy document of one's own; again gives the one that is there.

        Args:
            policy: the document, or the path of a policy.json.
            model_id: of the registered network that it is for.
            weights: the compressed network's safetensors file, which is uploaded; needed where
                it was tuned after the cut.

        Raises:
            PolicyInvalid: the file is no policy document.
            ProblemError: the policy was made for another network (`fingerprint-mismatch`).
        """
        document = policy if isinstance(policy, PolicyDocument) else PolicyDocument.load(policy)
        body: Json = {"model_id": model_id, "document": document.to_json()}
        if weights is not None:
            body["weights_file_id"] = cast("Client", self).upload(weights)["id"]
        return self._transport.post("/v1/policies", body, is_safe=True)

    def export(
        self, policy_id: str, format: str, *, timeout_seconds: float | None = None
    ) -> Sequence[Json]:
        """Return the files of a policy's network in a format, the main one last.

        The service makes them where they are not there yet.

        Args:
            policy_id: of a stored policy.
            format: `safetensors`, `onnx`, `openvino`, `pt2` or `bundle`.
            timeout_seconds: how long that may take; None for ever.

        Raises:
            ProblemError: the network cannot be had in this format, or its weights are gone.
            TookTooLong: the service is still at it.
        """
        path = f"/v1/policies/{policy_id}/artifacts"
        told = self._transport.post(path, {"format": format}, is_safe=True)
        if told["job"] is not None:
            job = Job(cast("Client", self), told["job"]).wait(timeout_seconds)
            if job.status != "succeeded":
                stopped = {"status": 409, "code": "wrong-state", "detail": f"{job.id} {job.status}"}
                raise ProblemError(job.content["error"] or stopped)
            told = self._transport.post(path, {"format": format}, is_safe=True)
        return told["artifacts"]

    def policies(self, *, job_id: str | None = None, model_id: str | None = None) -> Iterator[Json]:
        """Yield every stored policy, the newest first; of one job or for one network alone."""
        return self._transport.pages("/v1/policies", job_id=job_id, model_id=model_id)

    def _submitted(self, path: str, body: Json, key: str | None) -> Job:
        made = self._transport.post(path, body, key=key or uuid.uuid4().hex)
        return Job(cast("Client", self), made)
