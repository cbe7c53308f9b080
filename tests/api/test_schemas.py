"""The JSON Schemas that other programs are given agree with what the service reads and writes."""

from copy import deepcopy
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings

from automl_api.system.schemas import DOCUMENTS, schema_of
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import PolicyInvalid
from tests.api.accounts import DOCUMENT
from tests.api.conftest import RunningService, job_body, problem
from tests.automl_compress.core.test_document import DOCUMENTS as POLICIES

POLICY = jsonschema_rs.validator_for(schema_of("policy-v1"))


@given(POLICIES)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_document_that_is_written_has_the_form(document: PolicyDocument) -> None:
    POLICY.validate(document.to_json())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "fingerprint", "graph"), "sha256:0"),
        (("groups", 0, "scheme"), "pattern"),
        (("groups", 0, "sparsity"), 1.0),
        (("groups", 0, "channels", "kept"), []),
        (("totals", "macs", "before"), -1),
        (("repair", "method"), "magic"),
        (("metrics", 0, "fidelity"), "guessed"),
        (("version",), "2.0"),
        (("digest",), None),
    ],
)
def test_what_the_reader_refuses_for_its_form_the_schema_does_too(
    path: tuple[str | int, ...], value: Any
) -> None:
    content: Any = deepcopy(DOCUMENT.to_json())
    POLICY.validate(content)
    place = content
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value

    assert not POLICY.is_valid(content)
    with pytest.raises(PolicyInvalid):
        PolicyDocument.from_json(content)


def test_the_schemas_are_listed_and_given(service: RunningService) -> None:
    listed = service.http.get("/v1/schemas").json()["data"]

    assert [each["name"] for each in listed] == list(DOCUMENTS)
    for each in listed:
        answer = service.http.get(each["path"])
        assert answer.headers["Content-Type"] == "application/schema+json"
        jsonschema_rs.meta.validate(answer.json())
        assert answer.json()["$id"].endswith(f"/{each['name']}.json")
    unknown = problem(service.http.get("/v1/schemas/policy-v9"), 404, "not-found")
    assert "policy-v1" in unknown["detail"]


def test_the_schema_of_jobs_takes_what_the_service_takes(
    service: RunningService, model: dict[str, Any], dataset: dict[str, Any]
) -> None:
    schema = jsonschema_rs.validator_for(service.http.get("/v1/schemas/job-v1").json())
    wanted = job_body(model, dataset)
    schema.validate(wanted)

    assert service.post("/v1/jobs", wanted).status_code == 202
    for changed in ({"budget": {"ratio": 2}}, {"seed": "1"}, {"serach": "x"}):
        body = {**wanted, "study": {**wanted["study"], **changed}}
        assert not schema.is_valid(body)
        problem(service.post("/v1/jobs", body), 422, "invalid")
