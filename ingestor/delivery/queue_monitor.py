"""How full the queues are, and how fast that changes."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from ingestor.delivery.queue_alarms import FINE, Alarm, MonitoredQueue, alarm_of


@dataclass(slots=True)
class Traffic:
    """How often each routing key was published; the publisher counts, others read."""

    by_key: dict[str, int] = field(default_factory=dict)

    def count(self, key: str) -> None:
        self.by_key[key] = self.by_key.get(key, 0) + 1

    def of(self, bound: Collection[str]) -> int:
        """How many messages a queue got that is bound with these keys; `trades.#` stands for all that begin so."""
        whole = [key for key in bound if not key.endswith(".#")]
        prefixes = tuple(key.removesuffix("#") for key in bound if key.endswith(".#"))
        counted = sum(self.by_key.get(key, 0) for key in whole)
        if prefixes:
            counted += sum(count for key, count in list(self.by_key.items()) if key.startswith(prefixes))
        return counted


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as the broker sees it."""

    name: str
    ready: int
    consumers: int
    net_rate: float | None
    observed_at: float
    publish_rate: float | None = None
    published: int = 0
    nobody_since: float | None = None
    read_since: float | None = None
    unused_since: datetime | None = None
    alarm: Alarm = FINE


class QueueMonitor:
    """Compares each look at a queue with the last one."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.by_name: dict[str, Depth] = {}

    def seen(self, name: str, ready: int, consumers: int, keys: Collection[str], kept: int | None, now: float) -> Depth:
        """The queue as it is now; `keys` bind it, `kept` is how many messages it keeps."""
        before = self.by_name.get(name)
        published = self._traffic.of(keys)
        nobody_since = None if consumers else (before.nobody_since if before else None) or now
        read_since = ((before.read_since if before else None) or now) if consumers else None
        nobody_for_s = now - nobody_since if nobody_since else 0.0
        passed_s = now - before.observed_at if before else 0.0
        return Depth(
            name=name,
            ready=ready,
            consumers=consumers,
            net_rate=(ready - before.ready) / passed_s if before and passed_s else None,
            publish_rate=(published - before.published) / passed_s if before and passed_s else None,
            published=published,
            observed_at=now,
            nobody_since=nobody_since,
            read_since=read_since,
            alarm=alarm_of(MonitoredQueue(name, ready, consumers, kept, nobody_for_s)),
        )
