"""`/v1/keys`, for administrators, and `/v1/me`."""

from fastapi import APIRouter, Response

from automl_api.keys.doorkeeper import new_secret
from automl_api.keys.quotas import stored_bytes
from automl_api.keys.schemas import CallerBody, KeyBody, NewKey, NewKeyBody, key_body
from automl_api.once import IdempotencyKey, request_of
from automl_api.pages import After, Limit, Listing, listing
from automl_api.problem import Problem, not_found
from automl_api.service import ServiceDependency
from automl_compress.store import activity
from automl_compress.store import keys as key_rows

router = APIRouter(tags=["keys"])


@router.post("/v1/keys", status_code=201)
def create_key(
    new: NewKey,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> NewKeyBody:
    """Make a key of an account; its secret is in this answer and nowhere else.

    A request that is sent again under its `Idempotency-Key` makes no second one, but cannot tell
    the secret: 409 `made-already` names the key that is there.
    """
    secret = new_secret()
    with service.database.session() as session:
        row = key_rows.add(
            session,
            secret,
            account=new.account,
            scope=new.scope,
            name=new.name or new.account,
            request=request_of(idempotency_key, new),
        )
    if row.digest != key_rows.digest_of(secret):
        raise Problem(
            409,
            "made-already",
            f"this request has made key {row.id}, whose secret was in the first answer only; where "
            f"that was lost, DELETE /v1/keys/{row.id} and send a new request under a new "
            "Idempotency-Key",
            extensions={"key_id": row.id},
        )
    response.headers["Location"] = f"/v1/keys/{row.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewKeyBody(**key_body(row).model_dump(), key=secret)


@router.get("/v1/keys")
def list_keys(
    service: ServiceDependency, after: After = None, limit: Limit = 50
) -> Listing[KeyBody]:
    """List the keys, the newest first, revoked ones too."""
    with service.database.reading() as session:
        page = key_rows.page(session, after=after, limit=limit)
    return listing(page, key_body, "/v1/keys", {"limit": limit})


@router.get("/v1/keys/{key_id}")
def get_key(key_id: str, service: ServiceDependency) -> KeyBody:
    """Describe one key; revoked ones stand in the list alone."""
    with service.database.reading() as session:
        row = key_rows.get(session, key_id)
    if row.revoked_at is not None:
        not_found("key", key_id)
    return key_body(row)


@router.delete("/v1/keys/{key_id}", status_code=204)
def revoke_key(key_id: str, service: ServiceDependency) -> None:
    """End a key, and the sessions of browsers that it opened."""
    with service.database.session() as session:
        if key_rows.get(session, key_id).revoked_at is not None:
            not_found("key", key_id)
        key_rows.revoke(session, key_id)


@router.get("/v1/me")
def get_caller(service: ServiceDependency) -> CallerBody:
    """Say on whose behalf this key acts, and how much of its quotas is used."""
    caller, settings = service.caller, service.settings
    with service.database.reading() as session:
        unfinished = activity.unfinished_jobs(session, caller.account)
    is_free = caller.is_administrator
    return CallerBody(
        account=caller.account,
        scope=caller.scope,
        key_id=caller.key_id,
        stored_bytes=stored_bytes(service),
        max_stored_bytes=None if is_free else settings.max_stored_bytes,
        unfinished_jobs=unfinished,
        max_unfinished_jobs=None if is_free else settings.max_unfinished_jobs,
    )
