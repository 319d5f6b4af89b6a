"""Which connection carries which topic."""

from collections.abc import Callable, Iterable

from common.channels import Channel
from ingestor.sockets.pool import ConnectionPool, ConnectionSlot, ConnectionWorker


class Allocation:
    """Keeps one connection per endpoint in the pool, and further ones where one cannot carry all topics."""

    def __init__(
        self,
        pool: ConnectionPool,
        open_worker: Callable[[str, int], ConnectionWorker],
        start: Callable[[ConnectionWorker], object],
    ) -> None:
        self._pool = pool
        self._open_worker = open_worker
        self._start = start

    def want(self, channels: Iterable[Channel]) -> None:
        """From now on exactly these are to be subscribed; a topic stays on the connection that carries it."""
        wanted: dict[str, dict[str, Channel]] = {}
        for channel in channels:
            wanted.setdefault(channel.endpoint, {})[channel.topic] = channel
        with self._pool.changing() as slots:
            for endpoint in wanted.keys() | slots.keys():
                self._share_out(slots.setdefault(endpoint, []), endpoint, wanted.get(endpoint, {}))

    def _share_out(self, slots: list[ConnectionSlot], endpoint: str, wanted: dict[str, Channel]) -> None:
        """Only the workers whose topics change get a command."""
        new, changed = dict(wanted), set[int]()
        for number, slot in enumerate(slots):
            if gone := slot.channels.keys() - wanted.keys():
                slot.remove(gone)
                changed.add(number)
            for topic in slot.channels:
                del new[topic]
        try:
            for channel in new.values():
                number = self._with_room(slots, endpoint, channel.topic)
                slots[number].add(channel)
                changed.add(number)
        finally:  # a slot that changed counts as subscribed the next time, also when a further worker cannot be opened
            for number in changed:
                slots[number].subscribe()

    def _with_room(self, slots: list[ConnectionSlot], endpoint: str, topic: str) -> int:
        for number, slot in enumerate(slots):
            if slot.has_room_for(topic):
                return number
        worker = self._open_worker(endpoint, len(slots))
        self._start(worker)
        slots.append(ConnectionSlot(worker))
        return len(slots) - 1
