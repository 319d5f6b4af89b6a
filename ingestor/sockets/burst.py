"""What was read in one go, on its way to the outbox."""

import threading
from collections.abc import Iterable

import structlog

from common.events import Event
from ingestor.metrics import FRAMES
from ingestor.sockets.interfaces import EventSink

log = structlog.get_logger(__name__)

_OFFER_AGAIN_S = 0.05


class Burst:
    """Events of one connection, handed over together."""

    def __init__(self, outbox: EventSink, endpoint: str) -> None:
        self._outbox = outbox
        self._endpoint = endpoint
        self._private = endpoint == "private"
        self._events: list[Event] = []
        self._frames = FRAMES.labels(endpoint)

    def add(self, events: Iterable[Event]) -> None:
        self._events += events

    def flush(self, stop: threading.Event) -> None:
        """Hand everything over. While the outbox takes nothing this waits, so that nothing more is read."""
        if not self._events:
            return
        events, self._events = self._events, []
        self._frames.inc(len(events))
        if self._outbox.put(events, private=self._private):
            return
        log.error("outbox full, reading paused", endpoint=self._endpoint, events=len(events))
        while not self._outbox.put(events, private=self._private):
            if stop.wait(_OFFER_AGAIN_S):
                log.critical("events lost at shutdown", endpoint=self._endpoint, events=len(events))
                return
        log.info("outbox accepts events, reading resumed", endpoint=self._endpoint)
