"""What every request passes first: an id, host and key, and how much it may send."""

import re
import secrets
from contextlib import ExitStack
from typing import cast
from urllib.parse import quote, urlsplit

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automl_api.addressing import below_prefix, path_below_root, wants_page
from automl_api.answers import respond
from automl_api.arriving import limited
from automl_api.connections import Crowd
from automl_api.keys.caller import OPERATOR, Caller, needed_scope
from automl_api.keys.doorkeeper import Doorkeeper, read_cookie
from automl_api.problem import Problem, from_known
from automl_compress.core.errors import AutomlCompressError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/v1/health", "/v1/ready")  # what a load balancer asks
SIGN_IN_PATH = "/sign-in"
KEYS_PATH = "/keys"  # the one page whose forms a browser sends by itself
STATIC_PATH = "/static/"  # the pages' scripts and styles, the same for everyone

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """Gives each request an id and a caller, and turns away who may not come in.

    Where the operator set a key, every path but `OPEN_PATHS` and the sign-in page needs one as
    bearer token, or the session cookie that a browser got for it, and of a scope that allows the
    request. Otherwise the service is for this machine only, and a page of another site that had
    its name resolve to loopback is refused by the name it asks for. What a browser sends from
    another site's page changes nothing in either case.
    """

    def __init__(self, app: ASGIApp, crowd: Crowd, prefix: str = "") -> None:
        """Wrap an application that a proxy serves under this prefix, for not more than a crowd."""
        self._app, self._crowd, self._prefix = app, crowd, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = below_prefix(scope, self._prefix)
        request = Request(scope)
        request.state.request_id = _request_id(request)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Request-Id", request.state.request_id)
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        path = path_below_root(request)
        address = request.client.host if request.client else ""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._crowd.within(address, is_free=path in OPEN_PATHS))
                answer = await _refusal(request)
                if answer is None:
                    stack.enter_context(self._crowd.of_account(request.state.caller))
            except Problem as refusal:
                answer = respond(request, refusal)
            await (answer or self._app)(scope, limited(receive, path), send_with_id)


async def _refusal(request: Request) -> ASGIApp | None:
    """Find out who sends a request; returns what turns it away, None where it may come in."""
    try:
        request.state.caller = await _admitted(request)
    except Problem as refusal:
        return _answer(request, refusal)
    except AutomlCompressError as error:  # the tables, which hold the keys, are gone
        return respond(request, from_known(error))
    return None


async def _admitted(request: Request) -> Caller:
    """Return who sends a request; raises the problem that turns it away."""
    _check_address(request)
    doorkeeper = cast("Doorkeeper", request.app.state.doorkeeper)
    if doorkeeper.is_open:
        _check_host(request)
        _check_origin(request)
        return OPERATOR
    path = path_below_root(request)
    if path in OPEN_PATHS or path.startswith(STATIC_PATH):
        return Caller(scope="read", account="")
    caller = await to_thread.run_sync(_owner, doorkeeper, request)
    if caller is None and path == SIGN_IN_PATH:
        _check_origin(request)
        return Caller(scope="read", account="")
    if caller is None:
        raise _unauthorized()
    _check_scope(request, caller)
    return caller


def _owner(doorkeeper: Doorkeeper, request: Request) -> Caller | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        address = request.client.host if request.client else ""
        return doorkeeper.admit(token.strip(), address)
    caller = doorkeeper.admit_session(read_cookie(request.cookies))
    if caller is not None:
        _check_origin(request)
    return caller


def _unauthorized() -> Problem:
    return Problem(
        401,
        "unauthorized",
        "this service wants a key: send the header 'Authorization: Bearer KEY' "
        "(the client and the command line take it from AUTOML_COMPRESS_KEY)",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _check_scope(request: Request, caller: Caller) -> None:
    needed = needed_scope(request.method, path_below_root(request))
    if not caller.may(needed):
        raise Problem(
            403,
            "forbidden",
            f"the key's scope is {caller.scope}, but {request.method} {request.url.path} needs "
            f"{needed}; ask the operator for such a key (automl-compress keys create)",
        )


def _answer(request: Request, refusal: Problem) -> ASGIApp:
    """Send a browser that asks for a page to the sign-in page, and everyone else a document."""
    path = path_below_root(request)
    if refusal.status != 401 or not wants_page(request):
        return respond(request, refusal)
    wanted = f"{path}?{request.url.query}" if request.url.query else path
    if request.method != "GET":  # a form: back to the page that it stands on
        wanted = KEYS_PATH if path.startswith(KEYS_PATH) else "/"
    # Relative, since a proxy may serve us under a prefix that it does not tell.
    way_up = "../" * (path.count("/") - 1)
    return RedirectResponse(f"{way_up or './'}sign-in?next={quote(wanted, safe='/')}", 303)


def _check_origin(request: Request) -> None:
    """Refuse what a page of another site has its reader's browser send.

    A browser says where a request comes from, and no page can make it say something else;
    programs say nothing, and have no cookie that could be misused.
    """
    if request.method in _SAFE_METHODS:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("Host", "")
    if not is_ours:
        raise Problem(
            403,
            "forbidden",
            f"the request comes from a page of {origin or 'another site'!r}, which may not "
            "change anything here; open this service's own pages",
        )


def _check_address(request: Request) -> None:
    """Refuse the character NUL, which no name of anything has and no database takes."""
    if "\x00" in request.url.path or "%00" in request.url.query:
        raise Problem(422, "invalid", "the address holds the character NUL; leave it out")


def _check_host(request: Request) -> None:
    if request.url.hostname not in LOOPBACK_NAMES:
        raise Problem(
            403,
            "forbidden",
            f"a service without a key answers to {', '.join(LOOPBACK_NAMES)} only, not to "
            f"{request.headers.get('Host', '')!r}; set AUTOML_COMPRESS_KEY to open it to others",
        )


def _request_id(request: Request) -> str:
    told = request.headers.get("X-Request-Id", "")
    return told if _REQUEST_ID.fullmatch(told) else secrets.token_hex(8)
