"""How large a body may be, and how slowly it may come."""

import asyncio
import time

from starlette.types import Message, Receive

from automl_api.problem import Problem

UPLOAD_PATH = "/v1/files"  # counts for itself what arrives
LARGEST_DOCUMENT_BYTES = 4 * 1024**2
PATIENCE_SECONDS = 30.0  # of waiting, in which so much of a body must come, or its end
LEAST_BYTES = 16 * 1024


def limited(receive: Receive, path: str) -> Receive:
    """Stop a body that is longer than any document of this interface, or that does not go on.

    Args:
        receive: of the server.
        path: of the request, below the service's root.
    """
    size_bytes, has_ended = 0, False
    pace = _Pace()

    async def receive_limited() -> Message:
        nonlocal size_bytes, has_ended
        if has_ended:  # what comes now is the end of the connection, for which streams wait
            return await receive()
        message = await pace.next_of(receive)
        size_bytes += len(message.get("body", b""))
        has_ended = not message.get("more_body", False)
        if size_bytes > LARGEST_DOCUMENT_BYTES and path != UPLOAD_PATH:
            raise Problem(
                413,
                "too-large",
                f"the body is longer than {LARGEST_DOCUMENT_BYTES:,} bytes; send files to "
                f"POST {UPLOAD_PATH}",
                extensions={"limit_bytes": LARGEST_DOCUMENT_BYTES},
            )
        return message

    return receive_limited


class _Pace:
    """How long the service has waited for a body since enough of it came.

    What counts is the waiting: while an upload is written, nobody asks for more of it.
    """

    def __init__(self) -> None:
        self._waited_seconds, self._bytes = 0.0, 0

    async def next_of(self, receive: Receive) -> Message:
        """Return what comes next; raises Problem (`too-slow`)."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS - self._waited_seconds):
                message = await receive()
        except TimeoutError as error:
            raise Problem(
                408,
                "too-slow",
                f"of the body {self._bytes:,} bytes came in {PATIENCE_SECONDS:g} s, but "
                f"{LEAST_BYTES:,} should, or its end; send it again, faster",
                headers={"Connection": "close"},
            ) from error
        self._waited_seconds += time.monotonic() - began
        self._bytes += len(message.get("body", b""))
        if self._bytes >= LEAST_BYTES:
            self._waited_seconds, self._bytes = 0.0, 0
        return message
