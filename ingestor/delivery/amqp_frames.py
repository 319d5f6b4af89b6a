"""Encodes a publish as the bytes that pika would send, at an eighth of pika's cost, and decodes the broker's confirms.

pika builds objects for method, header and body and encodes each field again for every message. Ours differ in a few
fields only, so everything else is encoded once per routing key, by pika itself. Frame layout: AMQP 0-9-1, 4.2.
"""

import struct

from pika import frame, spec

from common import events, topology
from common.events import Event

_FLAGS = (
    spec.BasicProperties.FLAG_CONTENT_TYPE
    | spec.BasicProperties.FLAG_DELIVERY_MODE
    | spec.BasicProperties.FLAG_MESSAGE_ID
    | spec.BasicProperties.FLAG_TIMESTAMP
    | spec.BasicProperties.FLAG_TYPE
    | spec.BasicProperties.FLAG_APP_ID
)
_PERSISTENT = b"\x02"
_END = bytes((spec.FRAME_END,))
_HEAD = struct.Struct(">BHIHHQH")  # frame type, channel, size, class, weight, size of the body, flags
_BODY_HEAD = struct.Struct(">BHI")
_TIMESTAMP = struct.Struct(">Q")
_BEFORE_PROPERTIES = 14  # bytes of a header's payload
_ACK = struct.Struct(">BHLLQBB")  # frame type, channel, size, Basic.Ack, delivery tag, bits, end
_ACK_BYTES = 13  # class, method, delivery tag and bits
_MULTIPLE = 1

Confirm = tuple[int, bool]
"""Delivery tag, and whether it covers all tags up to it."""


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data


_CONTENT = _short(events.CONTENT_TYPE) + _PERSISTENT
_APP = _short(events.APP_ID)


class FrameEncoder:
    """Encodes for one channel of one connection, whose frames have at most `frame_max` bytes."""

    def __init__(self, channel_number: int, frame_max: int) -> None:
        self._channel = channel_number
        self._max_body = frame_max - spec.FRAME_HEADER_SIZE - spec.FRAME_END_SIZE
        self._methods: dict[str, bytes] = {}  # by routing key
        self._tails: dict[str, bytes] = {}  # by event class: the properties behind the timestamp

    def publish(self, event: Event, out: list[bytes]) -> None:
        """Add the event's frames to `out`."""
        method = self._methods.get(event.routing_key) or self._method(event.routing_key)
        tail = self._tails.get(event.event_class) or self._tail(event.event_class)
        name = event.id.encode()
        body = event.body
        size = len(body)
        properties = b"%b%c%b%b%b" % (_CONTENT, len(name), name, _TIMESTAMP.pack(event.timestamp_s), tail)
        length = _BEFORE_PROPERTIES + len(properties)
        head = _HEAD.pack(spec.FRAME_HEADER, self._channel, length, spec.Basic.INDEX, 0, size, _FLAGS)
        if 0 < size <= self._max_body:
            begin = _BODY_HEAD.pack(spec.FRAME_BODY, self._channel, size)
            out += (b"%b%b%b%b%b" % (method, head, properties, _END, begin), body, _END)
            return
        out += (method, head, properties, _END)
        for at in range(0, size, self._max_body):
            piece = body[at : at + self._max_body]
            out += (_BODY_HEAD.pack(spec.FRAME_BODY, self._channel, len(piece)), piece, _END)

    def _method(self, routing_key: str) -> bytes:
        method = spec.Basic.Publish(exchange=topology.EVENTS, routing_key=routing_key, mandatory=True)
        return self._methods.setdefault(routing_key, bytes(frame.Method(self._channel, method).marshal()))

    def _tail(self, event_class: str) -> bytes:
        return self._tails.setdefault(event_class, _short(event_class) + _APP)


def confirms(data: bytes) -> tuple[list[Confirm], int]:
    """The acks at the beginning of the data, and how many bytes they take."""
    found: list[Confirm] = []
    at = 0
    last = len(data) - _ACK.size
    while at <= last:
        kind, _, size, method, tag, bits, end = _ACK.unpack_from(data, at)
        if (kind, size, method, end) != (spec.FRAME_METHOD, _ACK_BYTES, spec.Basic.Ack.INDEX, spec.FRAME_END):
            break
        found.append((tag, bool(bits & _MULTIPLE)))
        at += _ACK.size
    return found, at
