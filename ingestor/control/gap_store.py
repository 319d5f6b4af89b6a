"""All gaps of the ingestor: those that are open, and those that the table does not have yet."""

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import structlog

from common.channels import Channel
from common.events import rfc3339_us
from ingestor.feed.gaps import Gap
from ingestor.metrics import GAPS

log = structlog.get_logger(__name__)

Key = tuple[str, str]  # endpoint and topic


class GapStore:
    """Keeps `Gaps` for all workers. A topic's calls come from its worker's thread, the others from any.

    `earlier` are the gaps of earlier runs. One that is open continues, as it was, when its topic is subscribed; one
    that was closed and not written yet is written.
    """

    def __init__(self, earlier: Iterable[Gap] = ()) -> None:
        earlier = list(earlier)
        self._earlier = {_key(gap): gap for gap in earlier if gap.closed_ns is None}
        self._open: dict[Key, Gap] = {}
        self._unwritten = {gap.id: gap for gap in earlier if gap.closed_ns is not None}
        self._lock = threading.Lock()

    # -- for the feeds --------------------------------------------------------------------------------------

    def open_gap(self, channel: Channel) -> Gap | None:
        return self._open.get((channel.endpoint, channel.topic))

    def left_open(self, channels: Sequence[Channel]) -> frozenset[str]:
        """Those of these topics of which an earlier run left a gap open."""
        if not self._earlier:
            return frozenset()
        with self._lock:
            return frozenset(each.topic for each in channels if (each.endpoint, each.topic) in self._earlier)

    def add(self, gap: Gap) -> Gap:
        with self._lock:
            gap = self._earlier.pop(_key(gap), gap)
            self._open[_key(gap)] = gap
            self._unwritten[gap.id] = gap
        GAPS.labels(gap.endpoint, gap.cause.split(":")[0]).inc()
        since = rfc3339_us(gap.opened_ns)
        log.warning("gap opened", endpoint=gap.endpoint, topic=gap.topic, cause=gap.cause, since=since)
        return gap

    def close(self, gap: Gap, closed_ns: int, first_id: str | None, healed: str | None) -> None:
        with self._lock:
            gap.closed_ns, gap.first_id = closed_ns, first_id
            gap.healed = healed
            self._open.pop(_key(gap), None)
            self._unwritten[gap.id] = gap
        lasted_s = round(gap.lasted_s, 3)
        log.info("gap closed", endpoint=gap.endpoint, topic=gap.topic, cause=gap.cause, lasted_s=lasted_s)

    def record_backfill(self, gap: Gap, healed: str) -> None:
        with self._lock:
            gap.healed = healed
            self._unwritten[gap.id] = gap

    # -- for the reconciler ---------------------------------------------------------------------------------

    def close_unsubscribed(self, subscribed: Collection[Key], now_ns: int) -> None:
        """Only these topics are subscribed: gaps that an earlier run left open of others are closed, without events."""
        if not self._earlier:
            return
        with self._lock:
            for key in self._earlier.keys() - set(subscribed):
                gap = self._earlier.pop(key)
                gap.closed_ns, gap.healed = now_ns, "no"
                self._unwritten[gap.id] = gap

    # -- for the checkpoint and the reporter ----------------------------------------------------------------

    def for_next_run(self) -> list[Gap]:
        """The gaps that are open, and the ends that the table does not have yet."""
        with self._lock:
            closed = [gap for gap in self._unwritten.values() if gap.closed_ns is not None]
            return [replace(gap) for gap in (*self._earlier.values(), *self._open.values(), *closed)]

    def unwritten(self) -> list[Gap]:
        """Copies: `written` compares them with what has become of the gaps meanwhile."""
        with self._lock:
            return [replace(gap) for gap in self._unwritten.values()]

    def written(self, gaps: Iterable[Gap]) -> None:
        """The table has them as `unwritten` gave them; what has changed since stays to be written."""
        with self._lock:
            for gap in gaps:
                if self._unwritten.get(gap.id) == gap:
                    del self._unwritten[gap.id]


def _key(gap: Gap) -> Key:
    return gap.endpoint, gap.topic
