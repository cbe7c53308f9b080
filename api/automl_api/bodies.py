"""What every request body and every answer has in common."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer


def timestamp(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[AwareDatetime, PlainSerializer(timestamp, return_type=str)]
# PostgreSQL's texts cannot hold the character NUL, and terminals obey other control characters.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
Identity = Annotated[str, Field(pattern=r"^[a-z]{3}_[0-9a-z]{20}$")]


class RequestBody(BaseModel):
    """A body that a user sends: unknown fields are refused, and texts are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class ResponseBody(BaseModel):
    """A body that the service answers with."""

    model_config = ConfigDict(frozen=True)
