"""`/sign-in` and `/sign-out`: a browser gives the key once and keeps a session."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from automl_api.dashboard.rendering import PageRoute, render_page
from automl_api.service import ServiceDependency
from automl_api.session import COOKIE, LIFETIME_SECONDS, is_key, new_session

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Wanted = Annotated[str, Query(alias="next", max_length=2000)]


@router.get("/sign-in")
def get_form(request: Request, service: ServiceDependency, wanted: Wanted = "/") -> Response:
    """Ask for the key; a service without one sends on at once."""
    if service.settings.key is None:
        return RedirectResponse(_address(wanted), 303)
    return render_page(request, "sign_in.html", wanted=wanted, is_wrong=False)


@router.post("/sign-in")
def sign_in(
    request: Request,
    service: ServiceDependency,
    key: Annotated[str, Form(max_length=1000)],
    wanted: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Begin a session and go back to the page that was asked for."""
    secret = service.settings.key
    if secret is None:
        return RedirectResponse(_address(wanted), 303)
    if not is_key(secret.get_secret_value(), key.strip()):
        return render_page(request, "sign_in.html", status_code=403, wanted=wanted, is_wrong=True)
    response = RedirectResponse(_address(wanted), 303)
    response.set_cookie(
        COOKIE,
        new_session(secret.get_secret_value()),
        max_age=LIFETIME_SECONDS,
        path=service.settings.root_path or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/sign-out")
def sign_out(service: ServiceDependency) -> Response:
    """Forget the session in this browser."""
    response = RedirectResponse("./", 303)
    response.delete_cookie(COOKIE, path=service.settings.root_path or "/")
    return response


def _address(wanted: str) -> str:
    """Return where to go, relative to this page, so that it can only be a page of ours."""
    return f"./{wanted.lstrip('/')}"
