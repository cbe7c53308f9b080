"""What every request passes first: an id, host and key, and how much it may send."""

import hmac
import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automl_api.problem import Problem, respond

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/v1/health", "/v1/ready")  # what a load balancer asks
UPLOAD_PATH = "/v1/files"  # counts for itself what arrives
LARGEST_DOCUMENT_BYTES = 4 * 1024**2

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """Gives each request an id and turns away who may not come in.

    With a key, every path but `OPEN_PATHS` needs it as bearer token. Without one the service
    is for this machine only, and a page of another site that had its name resolve to
    loopback is refused by the name it asks for.
    """

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        """Wrap an application."""
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request.state.request_id = _request_id(request)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Request-Id", request.state.request_id)
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        refusal = self._refusal(request)
        answer = self._app if refusal is None else respond(request, refusal)
        if request.url.path != UPLOAD_PATH:
            receive = _counted(receive)
        await answer(scope, receive, send_with_id)

    def _refusal(self, request: Request) -> Problem | None:
        if self._key is None:
            return _wrong_host(request)
        if request.url.path in OPEN_PATHS:
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), self._key.encode()):
            return None
        return Problem(
            401,
            "unauthorized",
            "this service wants a key: send the header 'Authorization: Bearer KEY' "
            "(the client and the command line take it from AUTOML_COMPRESS_KEY)",
            headers={"WWW-Authenticate": "Bearer"},
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
