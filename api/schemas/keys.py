"""The keys of services."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import Field, StrictInt

from api.schemas.common import Answer, Page, ServiceName, Strict


class NewKey(Strict):
    """A key with which a service acts for itself only."""

    service: ServiceName
    ttl_seconds: Annotated[StrictInt | None, Field(ge=1, le=10 * 366 * 24 * 3600)] = Field(
        None, description="how long the key is valid; default: until it is revoked"
    )


class ServiceKey(Answer):
    """A key without its secret."""

    id: uuid.UUID
    service: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")
    revoked_at: datetime | None
    live: bool


class MadeKey(ServiceKey):
    key: str = Field(description="shown only in this answer")


class ServiceKeys(Answer):
    items: list[ServiceKey]
    total: int
    limit: int
    offset: int


class KeyFilters(Page):
    service: str | None = Field(None, max_length=63)
