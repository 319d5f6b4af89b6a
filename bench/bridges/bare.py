"""The bare bridge: read-ahead, pipelined confirms, joined sends, one hand-over per burst, and nothing else.

No envelope, no ids, no spool, no parsing: the topic is scanned for in a frame's first bytes. What the gateway costs
beyond this is the price of its promises.
"""

import threading
from collections import deque
from typing import Any

import pika
import websocket

from bench.bridges.common import EXCHANGE, WINDOW, arguments, keys, subscribe

_READ_AHEAD = 2**16
_MOST_WAITING = 20_000
_PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Joined(pika.SelectConnection):  # type: ignore[misc]
    """Between `gather` and `flush` outgoing frames are joined into one send."""

    _gathered: list[bytes] | None = None

    def gather(self) -> None:
        self._gathered = []

    def flush(self) -> None:
        gathered, self._gathered = self._gathered, None
        if gathered:
            super()._adapter_emit_data(b"".join(gathered))

    def _adapter_emit_data(self, data: bytes) -> None:
        if self._gathered is None:
            super()._adapter_emit_data(data)
        else:
            self._gathered.append(data)


class Bridge:
    def __init__(self, amqp: str) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._rung = False
        self._published = 0
        self._confirmed = 0
        self._channel: Any = None
        self.ready = threading.Event()
        self.connection = Joined(
            pika.URLParameters(amqp),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
        )

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_delivery(self._settled, callback=lambda _: self.ready.set())

    def _settled(self, frame: Any) -> None:
        method = frame.method
        self._confirmed = method.delivery_tag if method.multiple else max(self._confirmed, method.delivery_tag)
        self._pump()

    def put(self, burst: list[tuple[str, bytes]]) -> None:
        """From the reader's thread."""
        self._waiting.extend(burst)
        if not self._rung:
            self._rung = True
            self.connection.ioloop.add_callback_threadsafe(self._pump)

    @property
    def full(self) -> bool:
        return len(self._waiting) > _MOST_WAITING

    def _pump(self) -> None:
        self._rung = False
        publish, waiting = self._channel.basic_publish, self._waiting
        room = WINDOW - (self._published - self._confirmed)
        if not waiting or room <= 0:
            return
        self.connection.gather()
        for _ in range(min(room, len(waiting))):
            key, body = waiting.popleft()
            publish(EXCHANGE, key, body, _PERSISTENT)
            self._published += 1
        self.connection.flush()


def main() -> None:
    given = arguments()
    routing_keys = {topic.encode(): key for topic, key in keys().items()}
    bridge = Bridge(given.amqp)
    threading.Thread(target=bridge.connection.ioloop.start, daemon=True).start()
    bridge.ready.wait(10)
    exchange = websocket.create_connection(given.websocket, skip_utf8_validation=True)
    exchange.send(subscribe())
    receive = exchange.sock.recv
    rest = b""
    pause = threading.Event()
    while chunk := receive(_READ_AHEAD):
        data = rest + chunk
        burst = []
        at = 0
        end = len(data)
        while end - at >= 4:
            size, body = data[at + 1], at + 2
            if size >= 126:
                wide = 2 if size == 126 else 8
                size, body = int.from_bytes(data[body : body + wide], "big"), body + wide
            if end - body < size:
                break
            at = body + size
            if data.startswith(b'{"topic":"', body):
                burst.append((routing_keys[data[body + 10 : data.index(b'"', body + 10)]], data[body:at]))
        rest = data[at:]
        if burst:
            bridge.put(burst)
        while bridge.full:
            pause.wait(0.005)


if __name__ == "__main__":
    main()
