"""`/sign-in` and `/sign-out`: a browser gives a key once and keeps a session."""

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from automl_api.dashboard.rendering import PageRoute, render_page
from automl_api.keys.doorkeeper import COOKIE, LIFETIME, Doorkeeper, read_cookie
from automl_api.service import ServiceDependency

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Wanted = Annotated[str, Query(alias="next", max_length=2000)]


def _doorkeeper(request: Request) -> Doorkeeper:
    return cast("Doorkeeper", request.app.state.doorkeeper)


DoorkeeperDependency = Annotated[Doorkeeper, Depends(_doorkeeper)]


@router.get("/sign-in")
def get_form(request: Request, doorkeeper: DoorkeeperDependency, wanted: Wanted = "/") -> Response:
    """Ask for a key; a service without one sends on at once."""
    if doorkeeper.is_open:
        return RedirectResponse(_address(wanted), 303)
    return render_page(request, "sign_in.html", wanted=wanted, is_wrong=False)


@router.post("/sign-in")
def sign_in(
    request: Request,
    service: ServiceDependency,
    doorkeeper: DoorkeeperDependency,
    key: Annotated[str, Form(max_length=1000)],
    wanted: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Begin a session and go back to the page that was asked for."""
    if doorkeeper.is_open:
        return RedirectResponse(_address(wanted), 303)
    caller = doorkeeper.admit(key.strip(), request.client.host if request.client else "")
    if caller is None:
        return render_page(request, "sign_in.html", status_code=403, wanted=wanted, is_wrong=True)
    response = RedirectResponse(_address(wanted), 303)
    response.set_cookie(
        COOKIE,
        doorkeeper.sign_in(caller),
        max_age=int(LIFETIME.total_seconds()),
        path=service.settings.root_path or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/sign-out")
def sign_out(
    request: Request, service: ServiceDependency, doorkeeper: DoorkeeperDependency
) -> Response:
    """End the session, here and in this browser."""
    doorkeeper.sign_out(read_cookie(request.cookies))
    response = RedirectResponse("./", 303)
    response.delete_cookie(COOKIE, path=service.settings.root_path or "/")
    return response


def _address(wanted: str) -> str:
    """Return where to go, relative to this page, so that it can only be a page of ours."""
    return f"./{wanted.lstrip('/')}"
