"""Connections and topics as other threads see them: immutable values, replaced when something changes."""

from dataclasses import dataclass
from datetime import datetime

from common.channels import Channel
from ingestor.bybit.states import State


@dataclass(frozen=True, slots=True)
class ObservedTopic:
    channel: Channel
    state: str  # pending, live or rejected
    reason: str | None
    acked_at: datetime | None
    last_event_at: datetime | None
    events: int  # live events in this run


@dataclass(frozen=True, slots=True)
class ObservedConnection:
    endpoint: str
    number: int  # counts the connections of an endpoint, from 0
    state: State
    since: datetime
    attempts: int  # failures in a row
    last_error: str | None
    rtt_ms: float | None
    last_heartbeat_at: datetime | None  # when the exchange last sent anything
    topics: tuple[ObservedTopic, ...] = ()
