"""The alarm of a queue: when it needs an operator's attention, and why."""

from dataclasses import dataclass
from enum import StrEnum

from common import topology

BACKLOG = (1_000, 10_000)  # ready messages: warning, critical
FULL = (0.80, 0.95)  # of the messages that retention keeps
UNREAD_FOR_S = 600.0


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alarm:
    level: Level
    reason: str | None = None


FINE = Alarm(Level.OK)
LEVELS = (Level.OK, Level.WARNING, Level.CRITICAL)


@dataclass(frozen=True, slots=True)
class MonitoredQueue:
    """An observed queue; `limit` is how many messages retention keeps, None without a limit."""

    name: str
    ready: int
    consumers: int
    limit: int | None
    unread_for_s: float

    @property
    def belongs_to_a_service(self) -> bool:
        """The persister's queue counts as one."""
        return "." in self.name.removeprefix("ws-gateway.")


def alarm_of(queue: MonitoredQueue) -> Alarm:
    """The most serious alarm. A class queue without a consumer has none: it is there for tools."""
    if queue.name == topology.DEAD:
        return Alarm(Level.WARNING, f"{queue.ready} messages were refused") if queue.ready else FINE
    if not queue.belongs_to_a_service and queue.consumers == 0:
        return FINE
    return max(
        (_shared(queue), _unread(queue), _backlog(queue), _full(queue)), key=lambda each: LEVELS.index(each.level)
    )


def _shared(queue: MonitoredQueue) -> Alarm:
    if queue.belongs_to_a_service or queue.consumers < 2:
        return FINE
    hint = f"{queue.name}.<service>"
    return Alarm(
        Level.WARNING, f"{queue.consumers} consumers share its messages; each needs a queue of its own: {hint}"
    )


def _unread(queue: MonitoredQueue) -> Alarm:
    if queue.consumers or queue.unread_for_s < UNREAD_FOR_S:
        return FINE
    return Alarm(Level.WARNING, f"no consumer for {queue.unread_for_s / 60:.0f} min")


def _backlog(queue: MonitoredQueue) -> Alarm:
    level = _level(queue.ready, BACKLOG)
    return Alarm(level, f"{queue.ready} messages wait") if level is not Level.OK else FINE


def _full(queue: MonitoredQueue) -> Alarm:
    if not queue.limit:
        return FINE
    level = _level(queue.ready / queue.limit, FULL)
    return Alarm(level, f"{queue.ready} of the {queue.limit} messages it keeps") if level is not Level.OK else FINE


def _level(value: float, limits: tuple[float, float]) -> Level:
    warning, critical = limits
    if value >= critical:
        return Level.CRITICAL
    return Level.WARNING if value >= warning else Level.OK
