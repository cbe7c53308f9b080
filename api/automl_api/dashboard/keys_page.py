"""`/keys`: an administrator makes and revokes the keys of accounts."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from automl_api.dashboard.rendering import PageRoute, render_page
from automl_api.keys.caller import SCOPES, Scope
from automl_api.keys.doorkeeper import new_secret
from automl_api.keys.schemas import ACCOUNT_PATTERN, key_body
from automl_api.service import Service, ServiceDependency
from automl_compress.store import keys as key_rows

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Account = Annotated[str, Form(pattern=ACCOUNT_PATTERN)]
Name = Annotated[str, Form(max_length=200, pattern=r"^[^\x00]*$")]


@router.get("/keys")
def get_keys(
    request: Request,
    service: ServiceDependency,
    after: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Show the keys, the newest first."""
    return _page(request, service, after)


@router.post("/keys")
def create_key(
    request: Request,
    service: ServiceDependency,
    account: Account,
    scope: Annotated[Scope, Form()] = "write",
    name: Name = "",
) -> Response:
    """Make a key; its secret stands on this answer's page and nowhere else."""
    secret = new_secret()
    with service.database.session() as session:
        key_rows.add(session, secret, account=account, scope=scope, name=name or account)
    return _page(request, service, None, secret)


@router.post("/keys/{key_id}/revoke")
def revoke_key(key_id: str, service: ServiceDependency) -> Response:
    """End a key and the sessions that it opened."""
    with service.database.session() as session:
        key_rows.revoke(session, key_id)
    return RedirectResponse("../../keys", 303)


def _page(request: Request, service: Service, after: str | None, secret: str = "") -> Response:
    with service.database.reading() as session:
        page = key_rows.page(session, after=after)
        keys = [key_body(row) for row in page.rows]
    return render_page(
        request,
        "keys.html",
        keys=keys,
        page=page,
        after=after,
        secret=secret,
        scopes=SCOPES,
        account_pattern=ACCOUNT_PATTERN.strip("^$"),
    )
