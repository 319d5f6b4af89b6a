"""When a queue is worth a person's attention."""

from dataclasses import dataclass
from enum import StrEnum

from common import topology

BACKLOG = (1_000, 10_000)  # ready messages: warning, critical
FULL = (0.80, 0.95)  # of what retention keeps
NOBODY_FOR_S = 600.0


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
    """A queue as it was seen; `kept` is how many messages retention keeps, None for no limit."""

    name: str
    ready: int
    consumers: int
    kept: int | None
    nobody_for_s: float

    @property
    def services(self) -> bool:
        """A service's own queue, ours included."""
        return "." in self.name.removeprefix("ws-gateway.")


def alarm_of(queue: MonitoredQueue) -> Alarm:
    """The worst that can be said of it; a class queue that nobody reads is nobody's worry."""
    if queue.name == topology.DEAD:
        return Alarm(Level.WARNING, f"{queue.ready} messages were refused") if queue.ready else FINE
    if not queue.services and queue.consumers == 0:
        return FINE
    return max(
        (_shared(queue), _unread(queue), _backlog(queue), _full(queue)), key=lambda each: LEVELS.index(each.level)
    )


def _shared(queue: MonitoredQueue) -> Alarm:
    if queue.services or queue.consumers < 2:
        return FINE
    hint = f"{queue.name}.<service>"
    return Alarm(
        Level.WARNING, f"{queue.consumers} consumers share its messages; each wants a queue of its own: {hint}"
    )


def _unread(queue: MonitoredQueue) -> Alarm:
    if queue.consumers or queue.nobody_for_s < NOBODY_FOR_S:
        return FINE
    return Alarm(Level.WARNING, f"nobody has read it for {queue.nobody_for_s / 60:.0f} min")


def _backlog(queue: MonitoredQueue) -> Alarm:
    level = _level(queue.ready, BACKLOG)
    return Alarm(level, f"{queue.ready} messages wait") if level is not Level.OK else FINE


def _full(queue: MonitoredQueue) -> Alarm:
    if not queue.kept:
        return FINE
    level = _level(queue.ready / queue.kept, FULL)
    return Alarm(level, f"{queue.ready} of the {queue.kept} messages it keeps") if level is not Level.OK else FINE


def _level(value: float, marks: tuple[float, float]) -> Level:
    return Level.CRITICAL if value >= marks[1] else Level.WARNING if value >= marks[0] else Level.OK
