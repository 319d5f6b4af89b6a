"""Where a subscription's events get lost."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas.common import Answer, Rounded
from api.schemas.subscriptions import Subscription


class Hop(Answer):
    """One step of the way from the subscription to its consumer."""

    hop: Literal["intent", "reconciled", "socket", "ack", "last_frame", "last_publish", "binding", "queue", "consumer"]
    state: Literal["ok", "broken", "waiting", "quiet", "unknown"]
    evidence: str
    since: datetime | None
    age_s: Rounded
    advice: str | None


class Diagnosis(Answer):
    """The first broken hop, and the state of every hop."""

    subscription: Subscription
    broken: str | None = Field(description="the first broken hop, or null")
    verdict: str
    advice: str | None
    hops: list[Hop]
