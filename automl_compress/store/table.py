"""What all tables share.

All names begin with `compress_`, for other tools (the job engine, a dashboard) may live in the
same database.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Enum, Float, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from automl_compress.core import TrialState
from automl_compress.store.moments import UtcDateTime
from automl_compress.store.states import DesiredState, JobKind, JobState

Json = dict[str, Any]
Identifier = String(32)


def _values(members: type[StrEnum]) -> list[str]:
    return [member.value for member in members]


def _words(enumeration: type[StrEnum]) -> Enum:
    return Enum(enumeration, native_enum=False, length=16, values_callable=_values)


class Table(DeclarativeBase):
    """Base of the tables; constraints carry names, so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        Json: JSON,
        datetime: UtcDateTime,
        int: BigInteger,
        float: Float(53),
        JobState: _words(JobState),
        DesiredState: _words(DesiredState),
        JobKind: _words(JobKind),
        TrialState: _words(TrialState),
    }


class Belonging:
    """A row that belongs to an account; the empty one is the operator's.

    Sessions of an account see its rows alone, as `accounts` says.
    """

    account: Mapped[str] = mapped_column(String(50), default="", server_default="", index=True)
