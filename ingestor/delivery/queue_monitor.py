"""How full the queues are, and how fast that changes."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from ingestor.delivery.queue_alarms import FINE, Alarm, MonitoredQueue, alarm_of


@dataclass(slots=True)
class Traffic:
    """How often each routing key was published; the publishers count, others read."""

    by_key: dict[str, int] = field(default_factory=dict)

    def count(self, key: str) -> None:
        self.by_key[key] = self.by_key.get(key, 0) + 1

    def of(self, bound: Collection[str]) -> int:
        """Messages that reached a queue bound with these keys; `trades.#` stands for all keys that begin like it."""
        exact = [key for key in bound if not key.endswith(".#")]
        prefixes = tuple(key.removesuffix("#") for key in bound if key.endswith(".#"))
        counted = sum(self.by_key.get(key, 0) for key in exact)
        if prefixes:
            counted += sum(count for key, count in list(self.by_key.items()) if key.startswith(prefixes))
        return counted


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as the broker reported it.

    Rates are messages per second, None at first; `observed_at` and `…_since` are monotonic seconds, `unused_since` is
    a time of day.
    """

    name: str
    ready: int
    consumers: int
    net_rate: float | None
    observed_at: float
    publish_rate: float | None = None
    published: int = 0
    unread_since: float | None = None
    read_since: float | None = None
    unused_since: datetime | None = None
    alarm: Alarm = FINE


class QueueMonitor:
    """Compares each observation of a queue with the previous one, which the caller keeps in `by_name`."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.by_name: dict[str, Depth] = {}

    def observe(
        self, name: str, ready: int, consumers: int, keys: Collection[str], limit: int | None, now: float
    ) -> Depth:
        """The queue at `now` (monotonic); it is bound with `keys` and keeps at most `limit` messages."""
        before = self.by_name.get(name)
        published = self._traffic.of(keys)
        unread_since = None if consumers else (before.unread_since if before else None) or now
        read_since = ((before.read_since if before else None) or now) if consumers else None
        unread_for_s = now - unread_since if unread_since else 0.0
        passed_s = now - before.observed_at if before else 0.0
        return Depth(
            name=name,
            ready=ready,
            consumers=consumers,
            net_rate=(ready - before.ready) / passed_s if before and passed_s else None,
            publish_rate=(published - before.published) / passed_s if before and passed_s else None,
            published=published,
            observed_at=now,
            unread_since=unread_since,
            read_since=read_since,
            alarm=alarm_of(MonitoredQueue(name, ready, consumers, limit, unread_for_s)),
        )
