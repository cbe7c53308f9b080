"""Whose rows: a session of an account sees that account's rows alone, and makes its own.

It is not for each query to remember: criteria are added to every statement that an account's
session runs, those of trials, events and artifacts by the job that they hang on. To such a
session the rows of others are not there.
"""

from dataclasses import dataclass

from sqlalchemy import event, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.orm.util import LoaderCriteriaOption

from automl_compress.store.tables import (
    ArtifactRow,
    Belonging,
    EventRow,
    JobRow,
    SnapshotRow,
    TrialRow,
)

_PLACE = "compress_account"  # in a session's info
_OF_JOBS = (TrialRow, SnapshotRow, EventRow, ArtifactRow)


@dataclass(frozen=True, slots=True)
class Account:
    """On whose behalf a session works; the empty name is the operator's.

    sees_all: the rows of others as well; what it makes is its own.
    """

    name: str = ""
    sees_all: bool = True


OPERATOR = Account()


class AccountSession(Session):
    """A session that works on behalf of an account."""


def session_info(account: Account) -> dict[str, Account]:
    """Return what a session's `info` must hold."""
    return {_PLACE: account}


def account_of(session: Session) -> Account:
    """Return on whose behalf a session works; the operator's where nothing else was said."""
    return session.info.get(_PLACE, OPERATOR)


@event.listens_for(AccountSession, "do_orm_execute")
def _confine(state: ORMExecuteState) -> None:
    account = account_of(state.session)
    if not account.sees_all and not state.is_insert:
        state.statement = state.statement.options(*_criteria(account.name))


def _criteria(name: str) -> list[LoaderCriteriaOption]:
    of_rows = with_loader_criteria(
        Belonging, lambda kind: kind.account == name, include_aliases=True
    )
    jobs = JobRow.__table__.c
    own = select(jobs.id).where(jobs.account == name)
    return [
        of_rows,
        *(
            with_loader_criteria(kind, kind.job_id.in_(own), include_aliases=True)
            for kind in _OF_JOBS
        ),
    ]


@event.listens_for(AccountSession, "before_flush")
def _belong(session: Session, *_: object) -> None:
    for row in session.new:
        if isinstance(row, Belonging) and row.account is None:  # pyright: ignore[reportUnnecessaryComparison]
            row.account = account_of(session).name
