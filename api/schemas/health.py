"""Health, liveness and readiness."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas.common import Answer, Strict


class Part(Answer):
    state: Literal["up", "idle", "down", "unknown"]
    since: datetime | None
    reason: str | None


class Sockets(Part):
    endpoints: dict[str, Part] = Field(default_factory=dict)


class BrokerPart(Part):
    other_arguments: dict[str, str | None] = Field(
        default_factory=dict,
        description="queues whose arguments differ from the settings; they are used as they are. How to replace each",
    )


class Components(Answer):
    ingestor: Part
    sockets: Sockets
    broker: BrokerPart
    database: Part
    persister: Part


class Health(Answer):
    """Healthy as long as no component is down; a component that is idle by design is healthy."""

    status: Literal["healthy", "unhealthy"]
    websocket_connected: bool
    active_subscriptions: int | None
    last_heartbeat_at: datetime | None = Field(description="the newest heartbeat of the exchange on any connection")
    version: str
    components: Components


class Live(Answer):
    status: Literal["live"]


class ReadyQuery(Strict):
    service: str = Field(min_length=1, max_length=63)


class Missing(Answer):
    what: Literal["subscription", "queue"]
    name: str
    reason: str


class Ready(Answer):
    service: str
    ready: bool
    missing: list[Missing]
