"""Waits until a connection has something to receive."""

import os
import select
import threading
from collections.abc import Sequence

from ingestor.sockets.interfaces import Connection


class TransportPoller:
    """Waits for transports, or until another thread calls `wake`."""

    def __init__(self) -> None:
        self.woken = False  # in the last wait
        self._closed = False
        self._lock = threading.Lock()  # a closed descriptor may be another one's by now
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._waker, select.POLLIN)
        self._registered: list[int] = []

    def wake(self) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._waker, 1)

    def wait(self, connections: Sequence[Connection], wait_s: float) -> list[Connection]:
        """Those that have something to receive, after at most `wait_s`."""
        self._register([connection.fileno() for connection in connections])
        pending = any(connection.pending for connection in connections)
        found = self._poll.poll(0 if pending else max(0.0, min(wait_s, 60.0)) * 1000)
        ready = [number for number, _ in found]
        self.woken = self._waker in ready
        if self.woken:
            os.eventfd_read(self._waker)
        return [connection for connection in connections if connection.fileno() in ready or connection.pending]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self._waker)

    def _register(self, numbers: list[int]) -> None:
        if numbers == self._registered:
            return
        for number in self._registered:
            self._poll.unregister(number)
        for number in numbers:
            self._poll.register(number, select.POLLIN)
        self._registered = numbers
