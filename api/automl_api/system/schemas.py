"""`/v1/schemas`: the forms of documents, as JSON Schemas for other programs."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from automl_api.bodies import ResponseBody
from automl_api.jobs.requests import NewJobBody
from automl_api.policies.document_schema import PolicyDocumentSchema
from automl_api.problem import Problem
from automl_compress.core.document import SCHEMA

MEDIA_TYPE = "application/schema+json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
DOCUMENTS: dict[str, type[BaseModel]] = {"job-v1": NewJobBody, "policy-v1": PolicyDocumentSchema}

router = APIRouter(prefix="/v1/schemas", tags=["system"])


class SchemaBody(ResponseBody):
    """A form that documents have, and where its schema is."""

    name: str
    title: str
    path: str


class SchemasBody(ResponseBody):
    """All schemas; few enough for one page."""

    data: list[SchemaBody]


@router.get("")
def list_schemas() -> SchemasBody:
    """List the documents whose form is described: bodies of jobs, policy documents."""
    described = [
        SchemaBody(
            name=name,
            title=(kind.__doc__ or "").partition("\n")[0],
            path=f"/v1/schemas/{name}",
        )
        for name, kind in DOCUMENTS.items()
    ]
    return SchemasBody(data=described)


@router.get("/{name}", responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}})
def get_schema(name: str) -> JSONResponse:
    """Give a JSON Schema (draft 2020-12)."""
    if name not in DOCUMENTS:
        raise Problem(
            404, "not-found", f"there is no schema {name[:80]!r}; choose: {', '.join(DOCUMENTS)}"
        )
    headers = {"Cache-Control": "private, max-age=3600"}
    return JSONResponse(schema_of(name), headers=headers, media_type=MEDIA_TYPE)


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a name of `DOCUMENTS`."""
    made = DOCUMENTS[name].model_json_schema(by_alias=True)
    place = SCHEMA.replace("policy-v1", name)
    return {"$schema": DIALECT, "$id": place, **made}
