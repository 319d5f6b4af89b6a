"""Reads deliveries from RabbitMQ at a few microseconds each.

pika's consumer needs 28 microseconds of CPU for a delivery, as much as the ingestor is to need for the whole event; on
a machine with few cores it would measure itself. This one needs 4. pika still writes and reads everything else.
"""

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from pika import credentials, frame, spec

from tests.kit.servers import Broker

_HEAD = struct.Struct(">BHI")
_TAG = struct.Struct(">Q")
_DELIVER = b"\x00\x3c\x00\x3c"
_METHOD, _BODY = 1, 3
_CHUNK = 2**18
_ANSWER_WITHIN_S = 10.0
ACKED_EVERY_S = 0.01
Keep = Callable[[bytes, bool, bytes], None]
"""Routing key, redelivered, body."""


class Deliveries:
    """One connection with one channel, consuming some queues; acks what has come together, every ten milliseconds.

    A queue that is empty after each message has RabbitMQ 3.10 make and delete two files for each: with an ack per read
    that was a quarter of the broker's work.
    """

    def __init__(self, broker: Broker, queues: Sequence[str], prefetch: int) -> None:
        self.socket = socket.create_connection((broker.host, broker.port), timeout=_ANSWER_WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._key = b""
        self._redelivered = False
        self._tag = 0
        self._acked, self._acked_at = 0, 0.0
        try:
            self._open(broker)
            self._ask(1, spec.Basic.Qos(prefetch_count=prefetch), spec.Basic.QosOk)
            for queue in queues:  # nowait: a delivery may precede the reply
                self._send(1, spec.Basic.Consume(queue=queue, consumer_tag=queue, nowait=True))
        except BaseException:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def close(self) -> None:
        self.socket.close()

    def read(self, arrived: Callable[[], None], keep: Keep) -> None:
        """Read once: call `arrived`, then `keep` for each delivery. Raises OSError when the connection has ended."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            raise OSError("the broker closed the connection")
        arrived()
        self._rest = self._parse(self._rest + chunk if self._rest else chunk, keep)

    @property
    def owes(self) -> bool:
        """Whether deliveries wait for their ack."""
        return self._tag != self._acked

    def settle(self, now: float) -> None:
        """Ack all deliveries when it is time."""
        if self.owes and now - self._acked_at >= ACKED_EVERY_S:
            self._send(1, spec.Basic.Ack(self._tag, multiple=True))
            self._acked, self._acked_at = self._tag, now

    def _parse(self, data: bytes, keep: Keep) -> bytes:
        at, end = 0, len(data)
        while end - at >= 8:
            kind, _, size = _HEAD.unpack_from(data, at)
            after = at + 8 + size
            if after > end:
                break
            if kind == _BODY:  # bodies are far smaller than a frame may be
                keep(self._key, self._redelivered, data[at + 7 : after - 1])
            elif kind == _METHOD:
                self._method(data, at + 7)
            at = after
        return data[at:]

    def _method(self, data: bytes, at: int) -> None:
        if data[at : at + 4] != _DELIVER:
            raise OSError(f"unexpected method from the broker: {frame.decode_frame(data[at - 7 :])[1]}")
        at += 5 + data[at + 4]
        (self._tag,) = _TAG.unpack_from(data, at)
        self._redelivered = data[at + 8] == 1
        at += 10 + data[at + 9]
        self._key = data[at + 1 : at + 1 + data[at]]

    # -- the beginning of a connection ----------------------------------------------------------------------

    def _open(self, broker: Broker) -> None:
        self.socket.sendall(frame.ProtocolHeader().marshal())
        start = self._answer(spec.Connection.Start)
        mechanism, response = credentials.PlainCredentials(broker.user, broker.password).response_for(start)
        properties = {"connection_name": "bench consumer"}
        self._send(0, spec.Connection.StartOk(properties, mechanism, response, "en_US"))
        tune = self._answer(spec.Connection.Tune)
        self._send(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._ask(0, spec.Connection.Open(broker.vhost), spec.Connection.OpenOk)
        self._ask(1, spec.Channel.Open(), spec.Channel.OpenOk)

    def _ask(self, channel: int, method: Any, wanted: type) -> Any:
        self._send(channel, method)
        return self._answer(wanted)

    def _send(self, channel: int, method: Any) -> None:
        data = frame.Method(channel, method).marshal()
        self.socket.sendall(data)

    def _answer(self, wanted: type) -> Any:
        while True:
            used, decoded = frame.decode_frame(self._rest)
            if decoded is None:
                chunk = self.socket.recv(_CHUNK)
                if not chunk:
                    raise OSError("the broker closed the connection")
                self._rest += chunk
                continue
            self._rest = self._rest[used:]
            if not isinstance(decoded, frame.Method):
                continue
            if not isinstance(decoded.method, wanted):
                raise OSError(f"unexpected method from the broker: {decoded.method}")
            return decoded.method
