"""The bytes of a publish are those that pika would send, and confirms are read as pika writes them."""

import pika
import pytest
from pika import frame, spec

from common import events, topology
from common.events import Event
from ingestor.delivery.amqp_frames import FrameEncoder, confirms

FRAME_MAX = 4096
BODIES = [b"", b"{}", b"x" * (FRAME_MAX - 8), b"x" * (FRAME_MAX - 7), bytes(range(256)) * 100]


def event(body: bytes, **more: str) -> Event:
    named = {"id": "0f8c2b6e5d7a4c1e9b3a7f60d2e41c58", "event_class": "trades", "routing_key": "trades.linear.BTCUSDT"}
    return Event(**(named | more), body=body, timestamp_s=1_786_310_819)


def written(*events: Event) -> bytes:
    encoder = FrameEncoder(1, FRAME_MAX)
    out: list[bytes] = []
    for each in events:
        encoder.publish(each, out)
    return b"".join(out)


def by_pika(event: Event) -> bytes:
    properties = pika.BasicProperties(
        content_type=events.CONTENT_TYPE,
        delivery_mode=2,
        timestamp=event.timestamp_s,
        message_id=event.id,
        type=event.event_class,
        app_id=events.APP_ID,
    )
    method = spec.Basic.Publish(exchange=topology.EVENTS, routing_key=event.routing_key, mandatory=True)
    sent: list[bytes] = []
    connection = object.__new__(pika.SelectConnection)
    connection._body_max_length = FRAME_MAX - 8
    connection._output_marshaled_frames = sent.extend
    connection._send_message(1, method, (properties, event.body))
    return b"".join(sent)


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_the_bytes_are_those_of_pika(body: bytes):
    assert written(event(body)) == by_pika(event(body))


def test_keys_classes_and_ids_belong_to_their_event():
    events = [event(b"1"), event(b"2", routing_key="gap.trades.linear.BTCUSDT", event_class="gap"), event(b"3")]
    events.append(event(b"4", id="short", routing_key="raw.linear.%C3%A9" + "x" * 230))
    assert written(*events) == b"".join(map(by_pika, events))


def test_pika_decodes_them():
    used, method = frame.decode_frame(written(event(b"{}")))
    assert used
    assert method.method.routing_key == "trades.linear.BTCUSDT"


def acks(*confirmed: tuple[int, bool]) -> bytes:
    return b"".join(frame.Method(1, spec.Basic.Ack(tag, multiple)).marshal() for tag, multiple in confirmed)


def test_confirms_are_read_as_pika_writes_them():
    found = [(1, False), (2**63, True), (7, True)]
    assert confirms(acks(*found)) == (found, len(acks(*found)))


@pytest.mark.parametrize("other", [frame.Method(1, spec.Basic.Nack(9)), frame.Heartbeat()], ids=["nack", "heartbeat"])
def test_another_frame_ends_the_confirms(other: frame.Frame):
    before, after = acks((5, True)), acks((6, True))
    assert confirms(before + other.marshal() + after) == ([(5, True)], len(before))


def test_half_a_confirm_is_left_for_the_next_read():
    data = acks((1, False), (2, False))
    assert confirms(data[:-1]) == ([(1, False)], len(data) // 2)
