"""Checkpoint file: the last point known to be delivered, and open gaps, for the next run."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson
import structlog
from pydantic import TypeAdapter

from common.channels import ENDPOINTS, Channel
from common.errors import MALFORMED
from ingestor.bybit.states import State
from ingestor.control.state_file import StateFile
from ingestor.delivery.outbox import LaneCounts
from ingestor.feed.gaps import Gap, Nanoseconds
from ingestor.observed import ObservedConnection

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
_RESTART = "restart"
_WELL, _WINDOWS = TypeAdapter(dict[str, Nanoseconds]), TypeAdapter(tuple[Gap, ...])
_SPILLED_WITHIN_NS = 2_000_000_000  # after the broker became unavailable, all events are on disk


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """For each endpoint that was live, the Unix time in nanoseconds up to which nothing can be lost any more.

    `windows` are the gaps that were open, or closed and not yet in Postgres.
    """

    well_ns: dict[str, int] = field(default_factory=dict)
    windows: tuple[Gap, ...] = ()

    def missed(self, held: Iterable[Channel]) -> list[Gap]:
        """The gaps with which the next run begins, given the channels that this run held."""
        found = {(gap.endpoint, gap.topic): gap for gap in self.windows if gap.closed_ns is None}
        ended = [gap for gap in self.windows if gap.closed_ns is not None]
        for channel in held:
            since_ns = self.well_ns.get(channel.endpoint)
            if since_ns is not None:
                gap = Gap(channel.endpoint, channel.topic, _RESTART, since_ns, last_id=None)
                found.setdefault((gap.endpoint, gap.topic), gap)
        return [*ended, *found.values()]


class SafePoint:
    """The time until which every accepted event is confirmed, dropped and reported, or on disk. Unix nanoseconds.

    A lane confirms in sequence, so the events accepted up to a moment are safe once that number is done.
    """

    def __init__(self, accepted: int, now_ns: int) -> None:
        self._marks = deque([(now_ns, accepted)])  # moment, and how many had been accepted by then
        self._safe_ns = now_ns

    def until_ns(self, counts: LaneCounts, now_ns: int, *, connected: bool) -> int:
        self._marks.append((now_ns, counts.accepted))
        done = counts.confirmed + counts.dropped
        while self._marks and self._marks[0][1] <= done:
            self._safe_ns = self._marks.popleft()[0]
        if not connected:
            while self._marks and self._marks[0][0] <= now_ns - _SPILLED_WITHIN_NS:
                self._safe_ns = self._marks.popleft()[0]
        return self._safe_ns


def checkpoint_of(observed: Iterable[ObservedConnection], safe_ns: int, windows: Iterable[Gap]) -> Checkpoint:
    """The checkpoint of now: private events are on disk before they count as read, others are safe up to `safe_ns`.

    Of several connections to an endpoint the one whose last frame is oldest counts.
    """
    well_ns: dict[str, int] = {}
    for each in observed:
        if each.state is State.LIVE and each.last_heartbeat_at is not None:
            heard_ns = int(each.last_heartbeat_at.timestamp() * 1e9)
            moments = (heard_ns, *(() if each.endpoint == "private" else (safe_ns,)))
            well_ns[each.endpoint] = min(*moments, well_ns.get(each.endpoint, heard_ns))
    return Checkpoint(well_ns, tuple(windows))


class CheckpointWriter:
    """Writes the file every second, on request, and when it is stopped; it must stop before the connections do."""

    name = "checkpoint"

    def __init__(self, file: StateFile, current: Callable[[], Checkpoint]) -> None:
        self._file = file
        self._current = current
        self._failing = False
        self._lock = threading.Lock()  # connections request it from their own threads

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(WRITE_EVERY_S):
            self.write()
        self.write()

    def write(self) -> None:
        """The checkpoint of now is on disk when this returns; errors of the disk are logged once."""
        with self._lock:
            self._replace(orjson.dumps(self._current()))

    def _replace(self, content: bytes) -> None:
        try:
            self._file.replace(content)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("checkpoint not written; the gap of the next restart will be longer", error=str(error))
            self._failing = True


def read_checkpoint(file: StateFile) -> Checkpoint:
    """The checkpoint of the previous run; empty on the first start.

    Of a file that is not valid the age is used: the previous run wrote it every second.
    """
    try:
        found = json.loads(file.read())
        return Checkpoint(_WELL.validate_python(found["well_ns"]), _WINDOWS.validate_python(found["windows"]))
    except FileNotFoundError:
        return Checkpoint()
    except (OSError, *MALFORMED) as error:
        log.warning("checkpoint not readable", error=str(error))
        return Checkpoint(dict.fromkeys(ENDPOINTS, _modified_ns(file)))


def _modified_ns(file: StateFile) -> int:
    try:
        return file.modified_ns()
    except OSError:
        return time.time_ns()
