"""What was read in one go, on its way to the outbox."""

import threading
from collections.abc import Iterable

import structlog

from common.events import Event
from ingestor.metrics import FRAMES
from ingestor.sockets.interfaces import EventSink

log = structlog.get_logger(__name__)

_OFFER_AGAIN_S = 0.05
MAX_EVENTS = 10_000  # kept for another attempt after the outbox failed


class Burst:
    """Events of one connection, handed over together and in order.

    They are kept until the outbox has accepted them: after an exception they are offered again, and an event that is
    accepted twice has the same id. Otherwise the event of the very gap that covers the failure could be lost.
    """

    def __init__(self, outbox: EventSink, endpoint: str) -> None:
        self._outbox = outbox
        self._endpoint = endpoint
        self._private = endpoint == "private"
        self._events: list[Event] = []
        self._frames = FRAMES.labels(endpoint)

    def add(self, events: Iterable[Event]) -> None:
        self._events += events

    def flush(self, stop: threading.Event) -> None:
        """Hand everything over. While the outbox accepts nothing this waits, so that nothing more is read.

        Raises what the outbox raises; the events are then offered again with the next call.
        """
        if not self._events:
            return
        try:
            if not self._put():
                self._wait_for_outbox(stop)
        except Exception:
            self._limit()
            raise

    def _put(self) -> bool:
        if not self._outbox.put(self._events, private=self._private):
            return False
        self._frames.inc(len(self._events))
        self._events = []
        return True

    def _wait_for_outbox(self, stop: threading.Event) -> None:
        log.error("outbox full, reading paused", endpoint=self._endpoint, events=len(self._events))
        while not self._put():
            if stop.wait(_OFFER_AGAIN_S):
                log.critical("events lost at shutdown", endpoint=self._endpoint, events=len(self._events))
                self._events = []
                return
        log.info("outbox accepts events, reading resumed", endpoint=self._endpoint)

    def _limit(self) -> None:
        """An outbox that never recovers must not fill the memory; the numbers of the events show what is missing."""
        if len(self._events) > MAX_EVENTS:
            log.error("events lost, outbox failed", endpoint=self._endpoint, events=len(self._events))
            self._events = []
