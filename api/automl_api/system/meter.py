"""Counts and times the requests that this process answers, and logs each."""

import logging
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automl_api.logs import about

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
logger = logging.getLogger(__name__)


class Meter:
    """The counters of one process."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "automl_compress_requests",
            "Requests that this process answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "automl_compress_request_seconds",
            "Time to the first byte of an answer.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is a template, so that ids make no series of their own."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


async def note_route(request: Request) -> None:
    """Leave the template of the path where `Metered` finds it: a dependency of every route."""
    request.state.route = request.scope["route"].path


class Metered:
    """Wraps the application; outermost, so that refused requests count as well."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        """Count into a meter."""
        self._app, self._meter = app, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and take note when its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        # What is inside may copy the scope, but not this.
        state = scope.setdefault("state", {})

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = state.get("route", "other")
                seconds, status = time.monotonic() - began, message["status"]
                self._meter.add(scope["method"], route, status, seconds)
                identity = Headers(raw=message["headers"]).get("X-Request-Id", "")
                with about(request_id=identity, status=status, seconds=round(seconds, 4)):
                    logger.info("%s %s %d", scope["method"], scope["path"], status)
            await send(message)

        await self._app(scope, receive, send_and_note)
