"""`Prefer: wait=SECONDS` (RFC 7240): an answer that comes when the job has ended."""

import asyncio
from typing import Annotated

from fastapi import Header

from automl_api.jobs.event_feed import EventFeed
from automl_api.problem import Problem

LONGEST_SECONDS = 60

Prefer = Annotated[
    str | None,
    Header(
        max_length=1000,
        description=f"`wait=SECONDS`: answer when the job has ended, after so many at the latest, "
        f"{LONGEST_SECONDS} at most.",
    ),
]


def seconds_of(prefer: str | None) -> int | None:
    """Return how long a request wants to wait, `LONGEST_SECONDS` at most; None where it does not.

    Raises:
        Problem: that is no whole number. Preferences that we do not know are not ours to judge.
    """
    for each in (prefer or "").split(","):
        name, _, told = each.partition(";")[0].partition("=")
        if name.strip().lower() != "wait":
            continue
        seconds = told.strip().strip('"')
        if not (seconds.isascii() and seconds.isdecimal()):
            detail = f"Prefer is {prefer!r}; give wait= and whole seconds, as in wait=30"
            raise Problem(
                422, "invalid", detail, errors=[{"parameter": "Prefer", "detail": detail}]
            )
        return min(int(seconds[:9]), LONGEST_SECONDS)
    return None


async def until_ended(feed: EventFeed, job_id: str, seconds: float) -> None:
    """Return when a job has ended, or the time is over.

    Nobody's thread and no connection to the database is held meanwhile: one reader looks at all
    jobs that are waited for.
    """
    end = asyncio.get_running_loop().time() + seconds
    async with feed.watching(job_id) as job:
        while job.head is None or not job.head.has_ended:
            left = end - asyncio.get_running_loop().time()
            if left <= 0 or not await job.changed(left):
                return
