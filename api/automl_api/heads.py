"""`HEAD` wherever `GET` is, as RFC 9110 wants it of every server."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadOfGet:
    """Answers HEAD by the header of what GET would answer.

    The server learns at the header that this is all, so a stream that is made as it is sent finds
    its reader gone.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application whose routes know GET."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app({**scope, "method": "GET"}, receive, send_head)
