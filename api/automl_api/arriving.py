"""How large a body may be, and how slowly it may come."""

import asyncio

from starlette.types import Message, Receive

from automl_api.problem import Problem

UPLOAD_PATH = "/v1/files"  # counts for itself what arrives
LARGEST_DOCUMENT_BYTES = 4 * 1024**2
LONGEST_SILENCE_SECONDS = 30.0  # between two parts of a body


def limited(receive: Receive, path: str) -> Receive:
    """Stop a body that is longer than any document of this interface, or that does not go on.

    Args:
        receive: of the server.
        path: of the request, below the service's root.
    """
    size_bytes, has_ended = 0, False

    async def receive_limited() -> Message:
        nonlocal size_bytes, has_ended
        if has_ended:  # what comes now is the end of the connection, for which streams wait
            return await receive()
        message = await _within_patience(receive)
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


async def _within_patience(receive: Receive) -> Message:
    try:
        async with asyncio.timeout(LONGEST_SILENCE_SECONDS):
            return await receive()
    except TimeoutError as error:
        raise Problem(
            408,
            "too-slow",
            f"nothing of the body came for {LONGEST_SILENCE_SECONDS:g} s; send it again",
            headers={"Connection": "close"},
        ) from error
