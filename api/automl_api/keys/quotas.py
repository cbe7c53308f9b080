"""How much an account may have; the operator and administrators may have what there is room for."""

from automl_api.problem import Problem
from automl_api.service import Service
from automl_compress.store import activity, artifacts, files

RETRY_SECONDS = 30


def check_queue(service: Service) -> None:
    """Refuse another job of an account that has as many unfinished ones as it may (`queue-full`).

    Two requests at once may both find the last place free; the limit is against floods.
    """
    caller, limit = service.caller, service.settings.max_unfinished_jobs
    if caller.is_administrator:
        return
    with service.database.reading() as session:
        unfinished = activity.unfinished_jobs(session, caller.account)
    if unfinished >= limit:
        raise Problem(
            429,
            "queue-full",
            f"account {caller.account!r} has {unfinished} jobs that have not ended, of the {limit} "
            "that it may have; wait for one to end, or cancel one",
            extensions={"unfinished_jobs": unfinished, "limit": limit},
            headers={"Retry-After": str(RETRY_SECONDS)},
        )


def stored_bytes(service: Service) -> int:
    """Return what the caller's account takes on the disk: its uploads and its jobs' artifacts."""
    with service.database.reading() as session:
        of_jobs = artifacts.stored_bytes(session, service.caller.account)
        return files.stored_bytes(session) + of_jobs


def bytes_left(service: Service) -> int | None:
    """Return how much more the caller's account may store; None for no limit of its own."""
    if service.caller.is_administrator:
        return None
    return max(0, service.settings.max_stored_bytes - stored_bytes(service))


def quota_exceeded(service: Service) -> Problem:
    """Say that an upload does not fit into what its account may store."""
    limit = service.settings.max_stored_bytes
    return Problem(
        429,
        "quota-exceeded",
        f"account {service.caller.account!r} may store {limit:,} bytes, and the file goes beyond; "
        "delete files and jobs that are not needed any more",
        extensions={"limit_bytes": limit},
    )
