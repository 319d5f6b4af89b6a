"""A publish as the very bytes that pika would send for it, at an eighth of pika's cost, and the broker's confirms.

pika builds objects for method, header and body and encodes each field anew, for every message. Ours differ in a few
fields only, so all that stays the same is encoded once per routing key, by pika itself.
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
"""Delivery tag, and whether it speaks for all tags up to it."""


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data


_CONTENT = _short(events.CONTENT_TYPE) + _PERSISTENT
_APP = _short(events.APP_ID)


class FrameEncoder:
    """Writes for one channel of one connection."""

    def __init__(self, channel_number: int, frame_max: int) -> None:
        self._channel = channel_number
        self._most = frame_max - spec.FRAME_HEADER_SIZE - spec.FRAME_END_SIZE
        self._methods: dict[str, bytes] = {}  # by routing key
        self._kinds: dict[str, bytes] = {}  # by event class: the last properties

    def publish(self, event: Event, out: list[bytes]) -> None:
        """Add the event's frames to `out`."""
        method = self._methods.get(event.routing_key) or self._method(event.routing_key)
        kind = self._kinds.get(event.event_class) or self._kind(event.event_class)
        name, body = event.id.encode(), event.body
        size = len(body)
        properties = b"%b%c%b%b%b" % (_CONTENT, len(name), name, _TIMESTAMP.pack(event.timestamp_s), kind)
        length = _BEFORE_PROPERTIES + len(properties)
        head = _HEAD.pack(spec.FRAME_HEADER, self._channel, length, spec.Basic.INDEX, 0, size, _FLAGS)
        if 0 < size <= self._most:
            begin = _BODY_HEAD.pack(spec.FRAME_BODY, self._channel, size)
            out += (b"%b%b%b%b%b" % (method, head, properties, _END, begin), body, _END)
            return
        out += (method, head, properties, _END)
        for at in range(0, size, self._most):
            piece = body[at : at + self._most]
            out += (_BODY_HEAD.pack(spec.FRAME_BODY, self._channel, len(piece)), piece, _END)

    def _method(self, routing_key: str) -> bytes:
        asked = spec.Basic.Publish(exchange=topology.EVENTS, routing_key=routing_key, mandatory=True)
        return self._methods.setdefault(routing_key, bytes(frame.Method(self._channel, asked).marshal()))

    def _kind(self, event_class: str) -> bytes:
        return self._kinds.setdefault(event_class, _short(event_class) + _APP)


def confirms(data: bytes) -> tuple[list[Confirm], int]:
    """The acks that the data begins with, and how many bytes they are."""
    told: list[Confirm] = []
    at, last = 0, len(data) - _ACK.size
    while at <= last:
        kind, _, size, method, tag, bits, end = _ACK.unpack_from(data, at)
        if (kind, size, method, end) != (spec.FRAME_METHOD, _ACK_BYTES, spec.Basic.Ack.INDEX, spec.FRAME_END):
            break
        told.append((tag, bool(bits & _MULTIPLE)))
        at += _ACK.size
    return told, at
