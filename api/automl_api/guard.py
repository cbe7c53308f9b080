"""What every request passes first: an id, host and key, and how much it may send."""

import re
import secrets
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automl_api.addressing import below_prefix, path_below_root
from automl_api.problem import Problem, respond
from automl_api.session import COOKIE, is_key, is_session

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/v1/health", "/v1/ready")  # what a load balancer asks
SIGN_IN_PATH = "/sign-in"
STATIC_PATH = "/static/"  # the pages' scripts and styles, the same for everyone
UPLOAD_PATH = "/v1/files"  # counts for itself what arrives
LARGEST_DOCUMENT_BYTES = 4 * 1024**2

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """Gives each request an id and turns away who may not come in.

    With a key, every path but `OPEN_PATHS` and the sign-in page needs it as bearer token, or the
    session cookie that a browser got for it. Without one the service is for this machine only,
    and a page of another site that had its name resolve to loopback is refused by the name it
    asks for. What a browser sends from another site's page changes nothing in either case.
    """

    def __init__(self, app: ASGIApp, key: str | None, prefix: str = "") -> None:
        """Wrap an application that a proxy serves under this prefix."""
        self._app, self._key, self._prefix = app, key, prefix

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

        refusal = self._refusal(request)
        answer = self._app if refusal is None else _answer(request, refusal)
        if path_below_root(request) != UPLOAD_PATH:
            receive = _counted(receive)
        await answer(scope, receive, send_with_id)

    def _refusal(self, request: Request) -> Problem | None:
        if self._key is None:
            return _wrong_host(request) or _wrong_origin(request)
        path = path_below_root(request)
        if path in OPEN_PATHS or path.startswith(STATIC_PATH):
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_key(self._key, token):
            return None
        if path == SIGN_IN_PATH or is_session(self._key, request.cookies.get(COOKIE, "")):
            return _wrong_origin(request)
        return Problem(
            401,
            "unauthorized",
            "this service wants a key: send the header 'Authorization: Bearer KEY' "
            "(the client and the command line take it from AUTOML_COMPRESS_KEY)",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _answer(request: Request, refusal: Problem) -> ASGIApp:
    """Send a browser that asks for a page to the sign-in page, and everyone else a document."""
    path = path_below_root(request)
    wants_page = "text/html" in request.headers.get("Accept", "") and request.method == "GET"
    if refusal.status != 401 or not wants_page or path.startswith("/v1/"):
        return respond(request, refusal)
    wanted = f"{path}?{request.url.query}" if request.url.query else path
    # Relative, since a proxy may serve us under a prefix that it does not tell.
    way_up = "../" * (path.count("/") - 1)
    return RedirectResponse(f"{way_up or './'}sign-in?next={quote(wanted, safe='/')}", 303)


def _wrong_origin(request: Request) -> Problem | None:
    """Refuse what a page of another site has its reader's browser send.

    A browser says where a request comes from, and no page can make it say something else;
    programs say nothing, and have no cookie that could be misused.
    """
    if request.method in _SAFE_METHODS:
        return None
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("Host", "")
    if is_ours:
        return None
    return Problem(
        403,
        "forbidden",
        f"the request comes from a page of {origin or 'another site'!r}, which may not change "
        "anything here; open this service's own pages",
    )


def _counted(receive: Receive) -> Receive:
    """Stop a body that is longer than any document of this interface."""
    size_bytes = 0

    async def receive_counted() -> Message:
        nonlocal size_bytes
        message = await receive()
        size_bytes += len(message.get("body", b""))
        if size_bytes > LARGEST_DOCUMENT_BYTES:
            raise Problem(
                413,
                "too-large",
                f"the body is longer than {LARGEST_DOCUMENT_BYTES:,} bytes; send files to "
                f"POST {UPLOAD_PATH}",
                extensions={"limit_bytes": LARGEST_DOCUMENT_BYTES},
            )
        return message

    return receive_counted


def _request_id(request: Request) -> str:
    told = request.headers.get("X-Request-Id", "")
    return told if _REQUEST_ID.fullmatch(told) else secrets.token_hex(8)


def _wrong_host(request: Request) -> Problem | None:
    if request.url.hostname in LOOPBACK_NAMES:
        return None
    return Problem(
        403,
        "forbidden",
        f"a service without a key answers to {', '.join(LOOPBACK_NAMES)} only, not to "
        f"{request.headers.get('Host', '')!r}; set AUTOML_COMPRESS_KEY to open it to others",
    )
