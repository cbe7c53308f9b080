"""How the client talks to the service: requests, retries, errors, event streams."""

import base64
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpx

from automl_compress.core.errors import AutomlCompressError

Json = dict[str, Any]

ATTEMPTS = 4
_PASSING = (429, 502, 503, 504)  # answers that a later attempt may not get
_LONGEST_WAIT_SECONDS = 30.0


class ProblemError(AutomlCompressError):
    """The service said no.

    Attributes:
        status: the HTTP status.
        code: what is wrong, in a word: `infeasible-budget`, `not-found` ...
        errors: which fields are wrong, each with `pointer` or `parameter`, and `detail`.
        document: the whole problem document.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Read a problem document."""
        self.document = dict(document)
        self.status = int(document.get("status", 0))
        self.code = str(document.get("code", f"http-{self.status}"))
        self.errors = cast("Sequence[Json]", tuple(document.get("errors", ())))
        super().__init__(f"{document.get('detail') or document.get('title')} ({self.code})")


class ServiceUnreachable(AutomlCompressError, ConnectionError):
    """Nobody answers at the service's address."""


class TookTooLong(AutomlCompressError, TimeoutError):
    """A job did not end in the time that was given."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job.

    seq counts the job's events from 1; type is `job.status`, `trial.completed` ...
    """

    seq: int
    type: str
    data: Json
    at: str = ""


class Transport:
    """Sends requests to one service, and again where that is safe."""

    def __init__(self, url: str, key: str | None, timeout_seconds: float) -> None:
        """Prepare for a service at `url`; nothing is sent yet."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=timeout_seconds,
            # A proxy of the environment is for the outside world, not for this machine.
            trust_env=not _is_loopback(url),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Json:
        """Fetch one JSON document."""
        wanted = {name: value for name, value in parameters.items() if value is not None}
        # Even empty parameters would take the place of those that the path has.
        return self._answer("GET", path, params=wanted or None).json()

    def get_waiting(self, path: str, seconds: int) -> Json:
        """Fetch a job when it has ended, or after so many seconds."""
        headers = {"Prefer": f"wait={seconds}"}
        return self._answer("GET", path, headers=headers, timeout=seconds + 60.0).json()

    def post(
        self, path: str, body: object = None, *, key: str | None = None, is_safe: bool = False
    ) -> Json:
        """Send a JSON document; again when nobody answers, with an idempotency key or `is_safe`."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._answer(
            "POST", path, is_safe=is_safe or key is not None, json=body, headers=headers
        ).json()

    def patch(self, path: str, changes: object) -> Json:
        """Change what stands at a path as it is now; refused where it changes in the meantime."""
        known = self._answer("GET", path).headers.get("ETag", "*")
        headers = {"If-Match": known}
        return self._answer("PATCH", path, is_safe=False, json=changes, headers=headers).json()

    def delete(self, path: str) -> None:
        """Delete what stands at a path."""
        self._answer("DELETE", path, is_safe=False)

    def command(self, path: str) -> Json:
        """Send a POST that may be repeated without harm."""
        return self._answer("POST", path, is_safe=True).json()

    def send(self, path: str, content: Iterator[bytes], sha256: bytes, **parameters: str) -> Json:
        """Send a stream of bytes, once; the service refuses them where they arrive damaged."""
        digest = base64.b64encode(sha256).decode()
        headers = {
            "Content-Type": "application/octet-stream",
            "Repr-Digest": f"sha-256=:{digest}:",
        }
        return self._answer(
            "POST", path, is_safe=False, content=content, params=parameters, headers=headers
        ).json()

    def pages(self, path: str, **parameters: Any) -> Iterator[Json]:
        """Yield the elements of a list, page after page."""
        page = self.get(path, **parameters)
        while True:
            yield from page["data"]
            if not page["has_more"]:
                return
            page = self.get(page["next"])

    def download(self, path: str, start: int, tag: str) -> Iterator[bytes]:
        """Yield the bytes of a file from a place on.

        Raises:
            ConnectionError: the connection broke, or the file is another one than `tag` by now.
        """
        headers = {} if start == 0 else {"Range": f"bytes={start}-", "If-Range": f'"{tag}"'}
        try:
            with self._http.stream("GET", path, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise _problem(response)
                if start and response.status_code != 206:
                    raise ConnectionError("the file was replaced while it was fetched")
                yield from response.iter_bytes()
        except httpx.TransportError as error:
            raise ConnectionError(str(error)) from error

    def events(self, path: str, after: int) -> Iterator[Event]:
        """Yield events from a stream until the service ends it or the connection drops."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        # The service sends a comment every 15 s, so silence for longer means a dead connection.
        patience = httpx.Timeout(30.0, read=60.0)
        try:
            with self._http.stream("GET", path, headers=headers, timeout=patience) as response:
                if response.is_error:
                    response.read()
                    raise _problem(response)
                yield from parse_events(response.iter_lines())
        except httpx.TransportError:
            return  # the caller asks again after the last event it got

    def _answer(
        self, method: str, path: str, *, is_safe: bool = True, **options: Any
    ) -> httpx.Response:
        for attempt in range(1, ATTEMPTS if is_safe else 1):
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError:
                time.sleep(_wait_seconds(attempt, None))
                continue
            if response.status_code not in _PASSING:
                return _checked(response)
            time.sleep(_wait_seconds(attempt, response.headers.get("Retry-After")))
        try:
            return _checked(self._http.request(method, path, **options))
        except httpx.TransportError as error:
            raise ServiceUnreachable(
                f"{self.url} does not answer ({error}); start it with 'automl-compress serve', "
                "or set AUTOML_COMPRESS_URL"
            ) from error


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """Read server-sent events; comments and half an event at the end are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name == "data" and "data" in fields:
                value = f"{fields['data']}\n{value.removeprefix(' ')}"
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields and fields.get("id", "").isdigit():
            content = json.loads(fields["data"])
            yield Event(
                int(fields["id"]),
                fields.get("event", "message"),
                content.get("data", {}),
                content.get("at", ""),
            )
        fields = {}


def _wait_seconds(attempt: int, told: str | None) -> float:
    if told is not None and told.isdigit():
        return min(float(told), _LONGEST_WAIT_SECONDS)
    return min(0.2 * 2**attempt, _LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.0)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise _problem(response)
    return response


def _problem(response: httpx.Response) -> ProblemError:
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        text = response.text[:200] or response.reason_phrase
        content = {"status": response.status_code, "detail": text}
    return ProblemError(cast("Json", content))


def _is_loopback(url: str) -> bool:
    return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
