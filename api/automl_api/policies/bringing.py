"""`POST` and `DELETE /v1/policies`: documents that users bring."""

from typing import Any

from fastapi import APIRouter, Response

from automl_api.bodies import Identity, RequestBody
from automl_api.files.uploaded import uploaded_path
from automl_api.intake import check_policy
from automl_api.policies.schemas import PolicyBody, policy_body
from automl_api.problem import Problem
from automl_api.service import Service, ServiceDependency
from automl_api.sources import ModelSource
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import NotFound, PolicyInvalid
from automl_compress.store import ModelRow, removal
from automl_compress.store import models as model_rows
from automl_compress.store import policies as policy_rows

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class NewPolicyBody(RequestBody):
    """A policy document for a registered network.

    document: as `policy.json` has it, its digest included.
    weights_file_id: an uploaded safetensors file, the compressed network's; where the document
        says that it was repaired or tuned, nothing can be made of the policy without it.
    """

    model_id: Identity
    document: dict[str, Any]
    weights_file_id: Identity | None = None


@router.post("", status_code=201, responses={200: {"model": PolicyBody}})
def bring_policy(new: NewPolicyBody, response: Response, service: ServiceDependency) -> PolicyBody:
    """Store a policy document of one's own: the network is cut as it says before it is stored.

    A document that is there already is answered with 200; weights that it lacked are taken.
    """
    document = _document(new)
    model = _model(service, new.model_id)
    _check_fingerprint(document, model)
    weights = _weights(service, new, document)
    check_policy(
        ModelSource.from_json(model.source), new.document, weights, service.files.directory
    )
    with service.database.session() as session:
        before = policy_rows.brought(session, model.id, document.digest)
        row = policy_rows.bring(session, model.id, new.document, new.weights_file_id)
    response.status_code = 201 if before is None else 200
    response.headers["Location"] = f"/v1/policies/{row.id}"
    return policy_body(row)


@router.delete("/{policy_id}", status_code=204)
def delete_policy(policy_id: str, service: ServiceDependency) -> None:
    """Delete a policy that a user brought and no job works on; its files stay."""
    with service.database.session() as session:
        removal.remove_policy(session, policy_id)


def _document(new: NewPolicyBody) -> PolicyDocument:
    try:
        return PolicyDocument.from_json(new.document)
    except PolicyInvalid as error:
        raise _refusal("invalid-policy", "/document", str(error)) from error


def _model(service: Service, identity: str) -> ModelRow:
    with service.database.reading() as session:
        try:
            return model_rows.get(session, identity)
        except NotFound as error:
            raise _refusal("unknown-name", "/model_id", str(error)) from error


def _check_fingerprint(document: PolicyDocument, model: ModelRow) -> None:
    told, found = document.model.graph_fingerprint, model.details["fingerprint"]["graph"]
    if told != found:
        detail = (
            f"the policy was made for {document.model.name!r} with graph {told[:23]}..., but "
            f"{model.name!r} has {found[:23]}...; name the network that it was made for, or bring "
            "a policy for this one"
        )
        raise _refusal("fingerprint-mismatch", "/document/model/fingerprint/graph", detail)


def _weights(service: Service, new: NewPolicyBody, document: PolicyDocument) -> str | None:
    if new.weights_file_id is None:
        return None
    if document.repair.weights_sha256 is None:
        detail = (
            "the document names no weights file (repair.weights_sha256), so nothing says that this "
            "one is its network's; leave weights_file_id out"
        )
        raise _refusal("weights-mismatch", "/weights_file_id", detail)
    place = "/weights_file_id"
    return uploaded_path(service, new.weights_file_id, "safetensors", place, "invalid-model")


def _refusal(code: str, pointer: str, detail: str) -> Problem:
    return Problem(422, code, detail, errors=[{"pointer": pointer, "detail": detail}])
