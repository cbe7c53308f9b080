"""Files of which a part may be asked for, and what may be answered."""

from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from automl_api.caching import TAG, TAGGED
from automl_api.problem import Problem

# For OpenAPI: the response reads both from the request.
Range = Annotated[
    str | None,
    Header(
        alias="Range",
        max_length=4096,
        description="`bytes=FROM-TO`, `bytes=FROM-` or `bytes=-LAST`.",
    ),
]
IfRange = Annotated[
    str | None,
    Header(max_length=1000, description="The ETag that the range is of; another: all of it."),
]

_CONTENT: dict[str, Any] = {"*/*": {}}  # its bytes are what the job made: of any kind, also JSON
_TEXT = {"schema": {"type": "string"}}
RANGED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All of it.",
        "content": _CONTENT,
        "headers": {**TAG, "Repr-Digest": _TEXT, "Accept-Ranges": _TEXT},
    },
    206: {
        "description": "The range; several as `multipart/byteranges`.",
        "content": _CONTENT,
        "headers": {**TAG, "Repr-Digest": _TEXT, "Content-Range": _TEXT},
    },
    304: TAGGED[304],
}


class RangedFile(FileResponse):
    """A file whose refusals of a range are problems as all others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or what was asked for of it; other units than bytes are not heeded (RFC 9110).

        Raises:
            Problem: the range lies outside of it (`range-not-satisfiable`), or cannot be read.
        """

        async def send_or_refuse(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                raise _refusal(message["status"], int(self.headers["Content-Length"]))
            await send(message)

        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name != b"range" or value.strip().lower().startswith(b"bytes=")
        ]
        await super().__call__({**scope, "headers": headers}, receive, send_or_refuse)


def _refusal(status: int, size_bytes: int) -> Problem:
    if status == 416:
        return Problem(
            416,
            "range-not-satisfiable",
            f"there are {size_bytes:,} bytes; ask for some of 0-{size_bytes - 1}",
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    detail = "the header Range is not bytes=FROM-TO, bytes=FROM- or bytes=-LAST"
    return Problem(400, "malformed", detail, errors=[{"parameter": "Range", "detail": detail}])
