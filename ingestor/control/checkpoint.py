"""Checkpoint file: the last point known to be delivered, and open gaps, for the next run."""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import structlog
from pydantic import TypeAdapter

from common.channels import PATHS, Channel
from common.errors import MALFORMED
from ingestor.bybit.states import State
from ingestor.delivery.outbox import Counts
from ingestor.feed.gaps import Gap, Nanoseconds
from ingestor.observed import ObservedConnection

log = structlog.get_logger(__name__)

STAMPED_EVERY_S = 1.0
_RESTART = "restart"
_WELL, _WINDOWS = TypeAdapter(dict[str, Nanoseconds]), TypeAdapter(tuple[Gap, ...])
_SPILLED_WITHIN_NS = 2_000_000_000  # after the broker has gone, what was in memory only is on disk


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Of each endpoint that was live, the moment up to which nothing can be lost any more; `windows` were open."""

    well_ns: dict[str, int] = field(default_factory=dict)
    windows: tuple[Gap, ...] = ()

    def missed(self, held: Iterable[Channel]) -> list[Gap]:
        """The windows with which the next life begins, given what this one held."""
        found = {(gap.endpoint, gap.topic): gap for gap in self.windows if gap.closed_ns is None}
        ended = [gap for gap in self.windows if gap.closed_ns is not None]
        for channel in held:
            since_ns = self.well_ns.get(channel.endpoint)
            if since_ns is not None:
                gap = Gap(channel.endpoint, channel.topic, _RESTART, since_ns, last_id=None)
                found.setdefault((gap.endpoint, gap.topic), gap)
        return [*ended, *found.values()]


class SafePoint:
    """Until when all that was accepted is confirmed, dropped and told, or on disk.

    A lane confirms in order, so what was accepted up to a moment is safe when as many are done with.
    """

    def __init__(self, accepted: int, now_ns: int) -> None:
        self._marks = deque([(now_ns, accepted)])  # moment, and how many had been accepted by then
        self._safe_ns = now_ns

    def until_ns(self, counts: Counts, connected: bool, now_ns: int) -> int:
        self._marks.append((now_ns, counts.accepted))
        done = counts.confirmed + counts.dropped
        while self._marks and self._marks[0][1] <= done:
            self._safe_ns = self._marks.popleft()[0]
        if not connected:
            while self._marks and self._marks[0][0] <= now_ns - _SPILLED_WITHIN_NS:
                self._safe_ns = self._marks.popleft()[0]
        return self._safe_ns


def checkpoint_of(sockets: Iterable[ObservedConnection], safe_ns: int, windows: Iterable[Gap]) -> Checkpoint:
    """As things are; private events are on disk before they count as read, the others are safe up to `safe_ns`."""
    well_ns: dict[str, int] = {}
    for seen in sockets:
        if seen.state is State.LIVE and seen.last_heartbeat_at is not None:
            heard_ns = int(seen.last_heartbeat_at.timestamp() * 1e9)
            moments = (heard_ns, *(() if seen.endpoint == "private" else (safe_ns,)))
            well_ns[seen.endpoint] = min(*moments, well_ns.get(seen.endpoint, heard_ns))
    return Checkpoint(well_ns, tuple(windows))


class CheckpointWriter:
    """Writes the file every second, when asked to, and when it is stopped; it has to stop before the sockets do."""

    name = "alive"

    def __init__(self, path: Path, checkpoint_of: Callable[[], Checkpoint]) -> None:
        self._path = path
        self._stamp = checkpoint_of
        self._failing = False
        self._lock = threading.Lock()  # sockets ask from threads of their own

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(STAMPED_EVERY_S):
            self.write()
        self.write()

    def write(self) -> None:
        """As things are now, on disk when this returns."""
        with self._lock:
            self._replace(orjson.dumps(self._stamp()))

    def _replace(self, written: bytes) -> None:
        beside = self._path.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                file.write(written)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("cannot leave a sign of life; the next restart's gap will look longer", error=str(error))
            self._failing = True


def read_checkpoint(path: Path) -> Checkpoint:
    """The earlier life's; a first start has none, and of a file that makes no sense its age tells enough."""
    try:
        found = json.loads(path.read_text())
        return Checkpoint(_WELL.validate_python(found["well_ns"]), _WINDOWS.validate_python(found["windows"]))
    except FileNotFoundError:
        return Checkpoint()
    except (OSError, *MALFORMED) as error:
        log.warning("the last sign of life cannot be read", error=str(error))
        return Checkpoint(dict.fromkeys(PATHS, _written_ns(path)))


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return time.time_ns()
