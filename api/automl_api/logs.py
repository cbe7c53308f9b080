"""What the processes of the service write to standard error: lines for people, or JSON objects.

Each line says what it is about: `request_id`, `worker_id`, `job_id`, `attempt` and `trial`, as
far as they are known where it is written.
"""

import logging
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_about: ContextVar[Mapping[str, object]] = ContextVar("about", default={})  # noqa: B039 - read alone


@contextmanager
def about(**subjects: object) -> Generator[None]:
    """Say within the block, in this thread, what every line is about; inner blocks add to it."""
    token = _about.set({**_about.get(), **subjects})
    try:
        yield
    finally:
        _about.reset(token)


def set_up_logs(form: LogFormat, level: LogLevel) -> None:
    """Make every logger of this process write to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_name_subjects)
    handler.setFormatter(_json_lines() if form == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("alembic", "uvicorn"):  # what they tell below a warning is no news
        logging.getLogger(name).setLevel(logging.WARNING)


def _name_subjects(record: logging.LogRecord) -> bool:
    for name, value in _about.get().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


def _json_lines() -> logging.Formatter:
    return _Json(
        "{levelname}{name}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
    )


class _Json(JsonFormatter):
    """One JSON object a line, with the time in UTC."""

    def add_fields(
        self,
        log_data: dict[str, object],
        record: logging.LogRecord,
        message_dict: dict[str, object],
    ) -> None:
        """Put the time first."""
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        super().add_fields(log_data, record, message_dict)


class _Text(logging.Formatter):
    """The message, and behind it what it is about."""

    SUBJECTS = ("request_id", "job_id", "trial")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write one line."""
        known = [
            f"{name}={getattr(record, name)}" for name in self.SUBJECTS if hasattr(record, name)
        ]
        return f"{record.getMessage()} ({', '.join(known)})" if known else record.getMessage()
