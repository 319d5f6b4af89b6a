"""Gaps: windows in which a topic may have missed something."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Protocol

from pydantic import Field

from common.channels import Channel
from common.events import digest, rfc3339_us

_NS = 1_000_000_000
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]  # since 1970; until 2262


@dataclass(slots=True)
class Gap:
    """One window of one topic; `closed_ns` is None while it is open.

    `last_id` is the id of the topic's last live event before the window, `first_id` that of the first one after it,
    None where unknown. `healed` is what REST gave back: yes, in part, no, or None while that is not known.
    """

    endpoint: str
    topic: str
    cause: str
    opened_ns: Nanoseconds
    last_id: str | None
    first_id: str | None = None
    closed_ns: Nanoseconds | None = None
    healed: str | None = None

    @property
    def id(self) -> str:
        """Follows from topic and begin: a gap that a later run takes over keeps its id."""
        return digest(self.endpoint.encode(), self.topic.encode(), str(self.opened_ns).encode())

    @property
    def opened(self) -> datetime:
        return datetime.fromtimestamp(self.opened_ns / _NS, UTC)

    @property
    def closed(self) -> datetime | None:
        return datetime.fromtimestamp(self.closed_ns / _NS, UTC) if self.closed_ns is not None else None

    @property
    def lasted_s(self) -> float:
        """0 while it is open."""
        return ((self.closed_ns or self.opened_ns) - self.opened_ns) / _NS


class Gaps(Protocol):
    """Where gaps are kept: they outlive the worker and the session that opened them.

    A topic has at most one open gap.
    """

    def open_gap(self, channel: Channel) -> Gap | None: ...

    def left_open(self, channels: Sequence[Channel]) -> frozenset[str]:
        """Those of these topics of which an earlier run left a gap open."""
        ...

    def add(self, gap: Gap) -> Gap:
        """Keep an open gap. One that an earlier run left open for the topic takes its place, and is returned."""
        ...

    def close(self, gap: Gap, closed_ns: int, first_id: str | None, healed: str | None) -> None: ...

    def record_backfill(self, gap: Gap, healed: str) -> None:
        """The outcome of a backfill that finished after its gap was closed."""
        ...


def described(gap: Gap) -> dict[str, object]:
    """The data of a `bybit.gap` event (docs/events.md)."""
    return {
        "endpoint": gap.endpoint,
        "topic": gap.topic,
        "state": "open" if gap.closed_ns is None else "closed",
        "from": rfc3339_us(gap.opened_ns),
        "to": None if gap.closed_ns is None else rfc3339_us(gap.closed_ns),
        "cause": gap.cause,
        "last_id": gap.last_id,
        "first_id": gap.first_id,
        "healed": gap.healed,
    }
