"""RFC 6455, byte by byte."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ProtocolViolation
from ingestor.sockets.frames import FrameReader, Message, Opcode


def frame(payload: bytes, opcode: int = Opcode.TEXT, final: bool = True) -> bytes:
    size = len(payload)
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 2**16:
        return head + b"\x7e" + size.to_bytes(2, "big") + payload
    return head + b"\x7f" + size.to_bytes(8, "big") + payload


payloads = st.one_of(st.binary(max_size=200), st.integers(0, 70_000).map(lambda size: b"x" * size))


@given(st.lists(payloads, max_size=6), st.lists(st.integers(0, 200_000), max_size=12))
def test_messages_come_out_as_they_went_in_however_the_bytes_are_cut(sent: list[bytes], cuts: list[int]):
    stream = b"".join(map(frame, sent))
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    reader = FrameReader()
    got = [message.payload for start, end in pairwise(edges) for message in reader.feed(stream[start:end])]
    assert got == sent


def test_a_message_in_parts_is_one_message_and_a_ping_may_come_between():
    reader = FrameReader()
    stream = frame(b"ab", final=False) + frame(b"?", Opcode.PING) + frame(b"cd", Opcode.CONTINUATION)
    assert reader.feed(stream) == [Message(Opcode.PING, b"?"), Message(Opcode.TEXT, b"abcd")]


def test_a_message_too_large_is_passed_over_and_the_next_one_read():
    reader = FrameReader(largest=1000)
    stream = frame(os.urandom(5000)) + frame(b"next")
    messages = [message for start in range(0, len(stream), 100) for message in reader.feed(stream[start : start + 100])]
    assert [(m.passed_over, m.payload if not m.passed_over else b"") for m in messages] == [(5000, b""), (0, b"next")]


def test_parts_without_end_are_passed_over_together():
    reader = FrameReader(largest=1000)
    stream = frame(b"a" * 900, final=False) + frame(b"b" * 900, Opcode.CONTINUATION, final=False)
    stream += frame(b"c" * 900, Opcode.CONTINUATION) + frame(b"next")
    assert [(m.passed_over, m.payload[:4]) for m in reader.feed(stream)] == [(2700, b"aaaa"), (0, b"next")]


@pytest.mark.parametrize(
    "stream",
    [
        b"\xc1\x00",  # a reserved bit
        b"\x83\x00",  # an unknown opcode
        b"\x80\x00",  # a continuation of nothing
        b"\x81\x80\x00\x00\x00\x00",  # masked
        b"\x81\xfe\x00\x7e\x00\x00\x00\x00",  # masked, long
        b"\x09\x00",  # a ping in parts
        b"\x89\x7e\x00\x80",  # a ping that is too long
        b"\x01\x01a\x81\x01b",  # a message inside another
        b"\x81\x7f\x40\x00\x00\x00\x00\x00\x00\x00",  # 2**62 bytes
    ],
)
def test_what_rfc_6455_forbids_ends_the_connection(stream: bytes):
    with pytest.raises(ProtocolViolation):
        FrameReader().feed(stream)
