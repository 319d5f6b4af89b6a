"""Inspects all queues in rounds: their depths and alarms, queues that are missing, queues that are unused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from common.topology import Queue
from ingestor.delivery.declarations import Declarations, TopologyBroker, mismatch_hint
from ingestor.delivery.plan import Unused
from ingestor.delivery.queue_alarms import FINE, Alarm, Level
from ingestor.delivery.queue_monitor import Depth, QueueMonitor

log = structlog.get_logger(__name__)

ROUND_EVERY_S = 5.0
UNUSED_KEPT_FOR = timedelta(hours=24)
_BATCH = 100  # queues, before requests have their turn


def _utc_now() -> datetime:
    return datetime.now(UTC)


class QueueInspection:
    """One round after the other, some queues at a time."""

    def __init__(
        self, monitor: QueueMonitor, declarations: Declarations, utc_now: Callable[[], datetime] = _utc_now
    ) -> None:
        self.missing = False  # the last round found that a queue is gone
        self._monitor = monitor
        self._declarations = declarations
        self._utc_now = utc_now
        self._limits: dict[str, int | None] = {}  # messages that each declared queue keeps, None without a limit
        self._unused: dict[str, Unused] = {}
        self._deleted: set[str] = set()  # unused ones
        self._round_due_at = 0.0
        self._to_inspect: list[str] = []  # what is left of this round
        self._inspected: dict[str, Depth] = {}

    @property
    def busy(self) -> bool:
        """Whether a round is not finished."""
        return bool(self._to_inspect)

    def adopt(self, queues: Sequence[Queue], unused: frozenset[Unused]) -> None:
        """Inspect these queues from the next round on."""
        self._limits = {queue.name: queue.arguments.get("x-max-length") for queue in queues}
        self._unused = {each.name: each for each in unused if each.name not in self._limits}
        self._deleted &= self._unused.keys()

    def inspect_some(self, broker: TopologyBroker, now: float) -> bool:
        """Inspect the next queues, once a round is due at `now` (monotonic); whether that finished a round."""
        if not self._to_inspect:
            if now < self._round_due_at:
                return False
            self._begin_round(now)
        batch = self._to_inspect[:_BATCH]
        self._to_inspect = self._to_inspect[_BATCH:]
        for name in batch:
            depth = self._inspect(broker, name, now)
            if depth is not None:
                self._inspected[name] = depth
        if self._to_inspect:
            return False
        self._monitor.by_name = self._inspected
        return True

    def _begin_round(self, now: float) -> None:
        self._round_due_at = now + ROUND_EVERY_S
        self._to_inspect = [*self._limits, *(name for name in self._unused if name not in self._deleted)]
        self._inspected = {}
        self.missing = False

    def _inspect(self, broker: TopologyBroker, name: str, now: float) -> Depth | None:
        if name in self._limits:
            return self._inspect_declared(broker, name, now)
        if name in self._unused:
            return self._inspect_unused(broker, self._unused[name], now)
        return None  # a new plan has neither

    def _inspect_declared(self, broker: TopologyBroker, name: str, now: float) -> Depth | None:
        depth = self._observe(broker, name, now)
        if depth is None:
            if name not in self._declarations.unreachable:
                log.warning("queue missing", queue=name)
            self._declarations.forget(name)
            self.missing = True
            return None
        before = self._monitor.by_name.get(name)
        level_before = before.alarm.level if before else Level.OK
        if depth.alarm.level is not level_before:
            log_alarm(name, depth.alarm, level_before)
        return depth

    def _inspect_unused(self, broker: TopologyBroker, unused: Unused, now: float) -> Depth | None:
        """Delete it a day after its last subscription ended, unless it still has a consumer."""
        depth = self._observe(broker, unused.name, now)
        overdue = self._utc_now() - unused.since >= UNUSED_KEPT_FOR
        if depth is not None and not (overdue and depth.consumers == 0):
            return replace(depth, unused_since=unused.since, alarm=FINE)
        if depth is not None:
            broker.delete(unused.name)
            since = unused.since.isoformat()
            log.info("unused queue deleted", queue=unused.name, unused_since=since, ready=depth.ready)
        self._declarations.forget(unused.name)
        self._deleted.add(unused.name)
        return None

    def _observe(self, broker: TopologyBroker, name: str, now: float) -> Depth | None:
        found = broker.inspect(name)
        if found is None:
            return None
        keys = self._declarations.keys_of(name)
        depth = self._monitor.observe(name, found.ready, found.consumers, keys, self._limits.get(name), now)
        if name in self._declarations.mismatched:
            return replace(depth, alarm=Alarm(Level.WARNING, mismatch_hint(name)))
        return depth


def log_alarm(queue: str, alarm: Alarm, before: Level) -> None:
    """Log the changed alarm of a queue at a level that matches it."""
    write = {Level.OK: log.info, Level.WARNING: log.warning, Level.CRITICAL: log.error}[alarm.level]
    write("queue alarm", queue=queue, alarm=str(alarm.level), reason=alarm.reason, was=str(before))
