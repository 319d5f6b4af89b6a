"""Windows in which a topic may have missed something: told in its stream, and kept for the table."""

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

import structlog
from pydantic import Field

from common.channels import Channel
from common.events import Event, rfc3339_us
from ingestor.feed.event_stream import EventStream
from ingestor.metrics import GAPS

log = structlog.get_logger(__name__)

_NS = 1_000_000_000
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]  # since 1970; until 2262


@dataclass(slots=True)
class Gap:
    """One window; `closed_ns` is None while it is open."""

    endpoint: str
    topic: str
    cause: str
    opened_ns: Nanoseconds
    last_id: str | None
    first_id: str | None = None
    closed_ns: Nanoseconds | None = None
    healed: str | None = None

    @property
    def opened(self) -> datetime:
        return datetime.fromtimestamp(self.opened_ns / _NS, UTC)

    @property
    def closed(self) -> datetime | None:
        return datetime.fromtimestamp(self.closed_ns / _NS, UTC) if self.closed_ns is not None else None


class Gaps:
    """One open window per topic at most. A topic's calls come from its socket's thread; the others from anywhere.

    `earlier` are the windows that an earlier life left behind: each is opened, as it was, when its topic is wanted.
    Those that it closed, and could not write down any more, are to be written.
    """

    def __init__(self, earlier: Iterable[Gap] = ()) -> None:
        earlier = list(earlier)
        self._earlier = {(gap.endpoint, gap.topic): gap for gap in earlier if gap.closed_ns is None}
        self._open: dict[tuple[str, str], Gap] = {}
        self._unhealed: dict[tuple[str, str, int], Gap] = {}  # closed, and the past is being asked for
        self._unwritten = {
            (gap.endpoint, gap.topic, gap.opened_ns): gap for gap in earlier if gap.closed_ns is not None
        }
        self._lock = threading.Lock()

    def opened(self, line: EventStream, cause: str, since_ns: int, now_ns: int) -> Event | None:
        """The event to publish, None when the topic's window is open already."""
        key = (line.channel.endpoint, line.channel.topic)
        if key in self._open:
            return None
        with self._lock:
            gap = self._earlier.pop(key, None) or Gap(*key, cause, since_ns, line.last_id)
            self._open[key] = gap
            self._unwritten[*key, gap.opened_ns] = gap
        GAPS.labels(gap.endpoint, gap.cause.split(":")[0]).inc()
        since = rfc3339_us(gap.opened_ns)
        log.warning("gap opened", endpoint=gap.endpoint, topic=gap.topic, cause=gap.cause, since=since)
        return line.gap(_told(gap), now_ns)

    def since_ns(self, channel: Channel) -> int | None:
        """When the topic's open window began."""
        gap = self._open.get((channel.endpoint, channel.topic))
        return gap.opened_ns if gap is not None else None

    def closed(self, line: EventStream, first_id: str | None, now_ns: int, healed: str | None = "no") -> Event | None:
        """The event to publish before the first live event after the window, whose id is `first_id` if it is here.

        `healed` is yes, in part or no; None when `healed` is going to be called.
        """
        key = (line.channel.endpoint, line.channel.topic)
        gap = self._open.get(key)
        if gap is None:
            return None
        gap.closed_ns, gap.first_id, gap.healed = now_ns, first_id, healed
        with self._lock:
            del self._open[key]
            if healed is None:
                self._unhealed[*key, gap.opened_ns] = gap
            self._unwritten[*key, gap.opened_ns] = gap
        log.info("gap closed", endpoint=gap.endpoint, topic=gap.topic, cause=gap.cause, lasted_s=_lasted_s(gap))
        return line.gap(_told(gap), now_ns)

    def healed(self, channel: Channel, opened_ns: int, outcome: str) -> None:
        """What became of a window that was closed without knowing it."""
        key = (channel.endpoint, channel.topic, opened_ns)
        with self._lock:
            if (gap := self._unhealed.pop(key, None)) is not None:
                gap.healed = outcome
                self._unwritten[key] = gap

    def missed(self, channels: Iterable[Channel]) -> frozenset[str]:
        """Those of these topics that miss something since an earlier life."""
        if not self._earlier:
            return frozenset()
        with self._lock:
            return frozenset(each.topic for each in channels if (each.endpoint, each.topic) in self._earlier)

    def carried(self, topics: Collection[tuple[str, str]], now_ns: int) -> None:
        """These are all that is wanted: windows that an earlier life left of any other end here, untold."""
        if not self._earlier:
            return
        with self._lock:
            for key in self._earlier.keys() - set(topics):
                gap = self._earlier.pop(key)
                gap.closed_ns, gap.healed = now_ns, "no"
                self._unwritten[*key, gap.opened_ns] = gap

    def windows(self) -> list[Gap]:
        """What the next life has to know of: windows that are open, earlier ones included, and unwritten ends."""
        with self._lock:
            ended = [gap for gap in self._unwritten.values() if gap.closed_ns is not None]
            return [replace(gap) for gap in (*self._earlier.values(), *self._open.values(), *ended)]

    def unwritten(self) -> list[Gap]:
        with self._lock:
            return [replace(gap) for gap in self._unwritten.values()]

    def written(self, gaps: list[Gap]) -> None:
        """They are in the table as `unwritten` gave them; what has changed since stays to be written."""
        with self._lock:
            for gap in gaps:
                key = (gap.endpoint, gap.topic, gap.opened_ns)
                if self._unwritten.get(key) == gap:
                    del self._unwritten[key]


def _told(gap: Gap) -> dict[str, object]:
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


def _lasted_s(gap: Gap) -> float:
    return round(((gap.closed_ns or gap.opened_ns) - gap.opened_ns) / _NS, 3)
