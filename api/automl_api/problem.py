"""Every error as a problem document (RFC 9457): the one place that knows status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any, NoReturn

from automl_compress.core import errors

MEDIA_TYPE = "application/problem+json"

# The first class that fits decides, so leaves stand before their parents.
_STATUS_AND_CODE: Sequence[tuple[type[Exception], int, str]] = (
    (errors.BudgetUnreachable, 422, "infeasible-budget"),
    (errors.PolicyMismatch, 422, "fingerprint-mismatch"),
    (errors.PolicyInvalid, 422, "invalid-policy"),
    (errors.WeightsMismatch, 422, "weights-mismatch"),
    (errors.OperatorsRefused, 422, "unsupported-operator"),
    (errors.ModelInvalid, 422, "invalid-model"),
    (errors.DataInvalid, 422, "invalid-data"),
    (errors.UnknownName, 422, "unknown-name"),
    (errors.KeyReused, 422, "idempotency-mismatch"),
    (errors.InvalidInput, 422, "invalid"),
    (errors.FloorMissed, 422, "floor-missed"),
    (errors.NotFound, 404, "not-found"),
    (errors.InUse, 409, "in-use"),
    (errors.WrongState, 409, "wrong-state"),
    (errors.ClusterFailed, 503, "cluster-failed"),
    (errors.DatabaseAway, 503, "unavailable"),
    (errors.StorageFailed, 507, "storage-failed"),
)
_TITLES = {
    "confirmed-already": "The policy is confirmed by these settings",
    "busy": "The service checks as many uploads as it can at once",
    "crowded": "The service answers as many requests as it can at once",
    "changed": "It was changed in the meantime",
    "expired": "The bytes were removed, as the service keeps them for a time only",
    "floor-missed": "No policy reaches the accuracy floor",
    "fingerprint-mismatch": "The policy was made for another network",
    "idempotency-mismatch": "The idempotency key was used with another body",
    "in-use": "Something else is made of it",
    "infeasible-budget": "No policy of this space is that small",
    "invalid": "The request is not valid",
    "invalid-data": "The data cannot be used",
    "invalid-model": "The network cannot be used",
    "invalid-policy": "The policy document cannot be read",
    "made-already": "The request was answered before, and its secret is kept nowhere",
    "malformed": "The request cannot be read",
    "needs-if-match": "The request must say which version it changes",
    "nothing-fits": "No measured policy is within this limit",
    "queue-full": "The account has as many unfinished jobs as it may have",
    "quota-exceeded": "The account stores as much as it may",
    "rate-limited": "Too many requests",
    "storage-failed": "The storage did not take it",
    "cluster-failed": "The cluster that evaluates cannot be used",
    "too-slow": "The request did not come in time",
    "too-large": "The upload is larger than this service takes",
    "unknown-name": "There is nothing of this name",
    "unsupported-format": "The format is not supported",
    "unsupported-operator": "The network uses operators that are not supported",
    "weights-mismatch": "The weights do not fit the network",
    "wrong-state": "Not possible in this state",
}
_MOST_NODES = 100  # refused nodes that one answer names


class Problem(Exception):
    """An error of the HTTP interface itself, with everything its document says.

    Attributes:
        errors: what is wrong with which field; each has `pointer` or `parameter`, and `detail`.
        extensions: further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        extensions: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take down what the document will say."""
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.extensions = tuple(errors), dict(extensions or {})
        self.headers = dict(headers or {})


def pointer(*parts: object) -> str:
    """Write where a field stands in a body (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def refuse(place: str, code: str, detail: str) -> NoReturn:
    """Raise the problem that a field of a body, at this JSON pointer, cannot be had."""
    raise Problem(422, code, detail, errors=[{"pointer": place, "detail": detail}])


def not_found(noun: str, identity: str) -> NoReturn:
    """Raise the problem that there is no such thing."""
    raise Problem(404, "not-found", f"there is no {noun} {identity!r}; GET the list to see all")


def document(problem: Problem, instance: str, request_id: str) -> dict[str, Any]:
    """Write the problem document."""
    phrase = HTTPStatus(problem.status).phrase
    content: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": _TITLES.get(problem.code, phrase),
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "request_id": request_id,
        "code": problem.code,
        **problem.extensions,
    }
    if problem.errors:
        content["errors"] = [dict(each) for each in problem.errors]
    return content


def from_known(error: errors.AutomlCompressError) -> Problem:
    """Turn an error of the tree into a problem."""
    status, code = next(
        ((status, code) for kind, status, code in _STATUS_AND_CODE if isinstance(error, kind)),
        (500, "internal"),
    )
    extensions: dict[str, Any] = {}
    if isinstance(error, errors.BudgetUnreachable):
        extensions = {
            "metric": error.metric,
            "limit": int(error.limit),
            "smallest": int(error.smallest),
        }
    nodes = error.nodes.items() if isinstance(error, errors.OperatorsRefused) else ()
    told = [{"pointer": place, "detail": node} for place, node in islice(nodes, _MOST_NODES)]
    headers = {"Retry-After": "5"} if status == 503 else {}
    return Problem(status, code, str(error), errors=told, extensions=extensions, headers=headers)
