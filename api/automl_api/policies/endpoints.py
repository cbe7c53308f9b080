"""`/v1/policies`."""

from fastapi import APIRouter, Request, Response

from automl_api.caching import document_response
from automl_api.service import ServiceDependency
from automl_compress.store import policies as policy_rows

router = APIRouter(prefix="/v1/policies", tags=["policies"])


@router.get("/{policy_id}")
def get_policy(policy_id: str, request: Request, service: ServiceDependency) -> Response:
    """Give a policy document; it never changes."""
    with service.database.reading() as session:
        row = policy_rows.get(session, policy_id)
    return document_response(request, row.document, "private, max-age=31536000, immutable")
