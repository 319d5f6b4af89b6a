"""RFC 6455 from bytes to messages, without a socket."""

from enum import IntEnum
from typing import NamedTuple

from common.errors import ProtocolViolation

LARGEST = 8 * 2**20  # a message beyond this is passed over, byte by byte
LONGEST = 2**30  # Bybit sends no frame beyond this: the connection is closed
_SAMPLE = 256


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_KNOWN = frozenset(Opcode)
_LONGEST_CONTROL = 125


class Message(NamedTuple):
    """A whole message; `passed_over` is its size when it was too large to keep, and `payload` its beginning."""

    opcode: int
    payload: bytes
    passed_over: int = 0


class FrameReader:
    """Takes bytes as they come and gives whole messages; what is incomplete waits for more."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._chunks: list[bytes] = []
        self._held = 0  # bytes in _chunks
        self._needed = 2  # bytes in hand before there can be anything new
        self._skip = 0  # bytes of an oversized frame still to come
        self._opcode: int | None = None  # of the message under way
        self._parts: list[bytes] = []
        self._size = 0
        self._final = False

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that this chunk completes; raises ProtocolViolation."""
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held < self._needed and not self._skip:
            return []
        data = chunk if len(self._chunks) == 1 else b"".join(self._chunks)
        messages: list[Message] = []
        rest = self._read(data, messages)
        self._chunks = [rest] if rest else []
        self._held = len(rest)
        return messages

    def _read(self, data: bytes, messages: list[Message]) -> bytes:
        at, end = 0, len(data)
        while True:
            if self._skip:
                passed = min(self._skip, end - at)
                self._skip -= passed
                at += passed
                if self._skip:
                    self._needed = 1
                    return b""
                self._finished(messages)
            if end - at < 2:
                self._needed = 2
                return data[at:]
            first, size = data[at], data[at + 1]
            body = at + 2
            if size >= 126:
                if size > 127:
                    raise ProtocolViolation("a masked frame from a server")
                wide = 2 if size == 126 else 8
                if end - body < wide:
                    self._needed = 2 + wide
                    return data[at:]
                size = int.from_bytes(data[body : body + wide], "big")
                body += wide
            if first == 0x81 and size <= self._largest:  # one whole text message: nearly every frame
                if end - body < size:
                    self._needed = body - at + size
                    return data[at:]
                if self._opcode is not None:
                    raise ProtocolViolation("a new message inside another")
                messages.append(Message(Opcode.TEXT, data[body : body + size]))
                at = body + size
                continue
            self._check(first, size)
            if size + self._size > self._largest:
                self._begin_skipping(first, data[body : body + _SAMPLE], size)
                at = body
                continue
            if end - body < size:
                self._needed = body - at + size
                return data[at:]
            self._take(first, data[body : body + size], messages)
            at = body + size

    def _check(self, first: int, size: int) -> None:
        opcode, final = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            raise ProtocolViolation("reserved bits are set, and no extension was agreed on")
        if opcode not in _KNOWN:
            raise ProtocolViolation(f"unknown opcode {opcode}")
        if opcode >= Opcode.CLOSE and (not final or size > _LONGEST_CONTROL):
            raise ProtocolViolation("a control frame in parts, or too long")
        if opcode == Opcode.CONTINUATION and self._opcode is None:
            raise ProtocolViolation("a continuation of nothing")
        if opcode in (Opcode.TEXT, Opcode.BINARY) and self._opcode is not None:
            raise ProtocolViolation("a new message inside another")
        if size > LONGEST:
            raise ProtocolViolation(f"a frame of {size} bytes")

    def _take(self, first: int, payload: bytes, messages: list[Message]) -> None:
        opcode = first & 0x0F
        if opcode >= Opcode.CLOSE:
            messages.append(Message(opcode, payload))
            return
        self._start(opcode)
        self._parts.append(payload)
        self._size += len(payload)
        self._final = bool(first & 0x80)
        self._finished(messages)

    def _begin_skipping(self, first: int, sample: bytes, size: int) -> None:
        self._start(first & 0x0F)
        self._parts = [b"".join(self._parts)[:_SAMPLE] or sample]
        self._size += size
        self._skip = size
        self._final = bool(first & 0x80)

    def _start(self, opcode: int) -> None:
        if self._opcode is None:
            self._opcode = opcode

    def _finished(self, messages: list[Message]) -> None:
        if not self._final or self._opcode is None:
            return
        oversized = self._size if self._size > self._largest else 0
        messages.append(Message(self._opcode, b"".join(self._parts), oversized))
        self._opcode = None
        self._parts = []
        self._size = 0
        self._final = False
