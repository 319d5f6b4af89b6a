"""What the ingestor reports: topics, connections, queues and gaps."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas.common import Answer, Flag, Page


class SeenTopic(Answer):
    """A topic as the ingestor reports it."""

    endpoint: str
    topic: str
    channel_type: str
    state: str
    reason: str | None
    services: int = Field(description="how many services subscribe to it")
    acked_at: datetime | None
    last_event_at: datetime | None
    last_event_age_s: float | None
    events: int = Field(description="since the ingestor started")
    events_per_s: float | None = Field(description="average since the exchange acknowledged it")
    observed_at: datetime
    stale: bool = Field(description="the report is too old to be relied on")


class SeenSocket(Answer):
    """A connection to the exchange as the ingestor reports it."""

    endpoint: str
    socket_no: int
    state: str
    since: datetime
    attempts: int
    last_error: str | None
    rtt_ms: float | None
    clock_offset_ms: float | None
    last_heartbeat_at: datetime | None
    epoch: str
    observed_at: datetime
    stale: bool


class SeenQueue(Answer):
    """A queue as the ingestor last measured it."""

    name: str
    event_class: str
    service: str | None
    ready: int | None
    consumers: int | None
    publish_rate: float | None
    net_rate: float | None
    consume_rate: float | None = Field(
        description="acknowledged per second, from RabbitMQ's management plugin; null: unknown"
    )
    oldest_at: datetime | None = Field(
        description="when the oldest ready message was published; null: none, or unknown"
    )
    unused_since: datetime | None
    alarm: Literal["warning", "critical"] | None
    reason: str | None = Field(description="why there is an alarm")
    observed_at: datetime
    stale: bool


class SeenGap(Answer):
    """A window in which a topic may have missed data."""

    id: int
    endpoint: str
    topic: str
    opened: datetime
    closed: datetime | None
    cause: str
    last_id: str | None
    first_id: str | None
    healed: str | None


class SeenTopics(Answer):
    items: list[SeenTopic]
    total: int
    limit: int
    offset: int


class SeenSockets(Answer):
    items: list[SeenSocket]
    total: int


class SeenQueues(Answer):
    items: list[SeenQueue]
    total: int
    limit: int
    offset: int


class SeenGaps(Answer):
    items: list[SeenGap]
    total: int
    limit: int
    offset: int


class GapFilters(Page):
    open: Flag | None = Field(None, description="true: only open gaps; false: only closed ones")
