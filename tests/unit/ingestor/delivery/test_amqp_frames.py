"""What we write for a publish is what pika would write, and goes where pika's own bytes go."""

import pika
import pytest
from pika import frame, spec

from common import events, topology
from common.events import Event
from ingestor.delivery.amqp_connection import BatchingConnection
from ingestor.delivery.amqp_frames import FrameEncoder, confirms

FRAME_MAX = 4096
BODIES = [b"", b"{}", b"x" * (FRAME_MAX - 8), b"x" * (FRAME_MAX - 7), bytes(range(256)) * 100]


def event(body: bytes, **more: str) -> Event:
    named = {"id": "0f8c2b6e5d7a4c1e9b3a7f60d2e41c58", "event_class": "trades", "routing_key": "trades.linear.BTCUSDT"}
    return Event(**(named | more), body=body, timestamp_s=1_786_310_819)


def written(*events: Event) -> bytes:
    wire, out = FrameEncoder(1, FRAME_MAX), list[bytes]()
    for each in events:
        wire.publish(each, out)
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
    asked = spec.Basic.Publish(exchange=topology.EVENTS, routing_key=event.routing_key, mandatory=True)
    sent: list[bytes] = []
    connection = object.__new__(pika.SelectConnection)
    connection._body_max_length = FRAME_MAX - 8
    connection._output_marshaled_frames = sent.extend
    connection._send_message(1, asked, (properties, event.body))
    return b"".join(sent)


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_the_bytes_are_those_of_pika(body: bytes):
    assert written(event(body)) == by_pika(event(body))


def test_keys_classes_and_ids_do_not_get_mixed_up():
    events = [event(b"1"), event(b"2", routing_key="gap.trades.linear.BTCUSDT", event_class="gap"), event(b"3")]
    events.append(event(b"4", id="short", routing_key="raw.linear.%C3%A9" + "x" * 230))
    assert written(*events) == b"".join(map(by_pika, events))


def test_pika_decodes_them():
    used, method = frame.decode_frame(written(event(b"{}")))
    assert used
    assert method.method.routing_key == "trades.linear.BTCUSDT"


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_what_the_socket_does_not_take_at_once_goes_where_pika_sends(taken: int):
    passed: list[bytes] = []

    class Deaf(BatchingConnection):
        def __init__(self) -> None:
            self.bytes_sent = self.frames_sent = 0

        def _sent_at_once(self, _data: bytes) -> int:
            return taken

        def _adapter_emit_data(self, data: bytes) -> None:
            passed.append(data)

    Deaf()._output_marshaled_frames([b"one", b"two"])
    Deaf().write([b"three", b"four"])
    assert passed == [b"one", b"two", b"threefour"[taken:]]


def acks(*told: tuple[int, bool]) -> bytes:
    return b"".join(frame.Method(1, spec.Basic.Ack(tag, multiple)).marshal() for tag, multiple in told)


def test_confirms_are_read_as_pika_writes_them():
    told = [(1, False), (2**63, True), (7, True)]
    assert confirms(acks(*told)) == (told, len(acks(*told)))


@pytest.mark.parametrize("other", [frame.Method(1, spec.Basic.Nack(9)), frame.Heartbeat()], ids=["nack", "heartbeat"])
def test_what_is_no_confirm_is_left_with_all_that_follows(other: frame.Frame):
    before, after = acks((5, True)), acks((6, True))
    assert confirms(before + other.marshal() + after) == ([(5, True)], len(before))


def test_half_a_confirm_is_left():
    data = acks((1, False), (2, False))
    assert confirms(data[:-1]) == ([(1, False)], len(data) // 2)
