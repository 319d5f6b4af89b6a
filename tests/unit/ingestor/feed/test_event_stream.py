"""One topic's event stream."""

import json

from common.channels import of_topic
from ingestor.epoch import new_epoch
from ingestor.feed.event_stream import EventStream, EventStreams, StreamSource

TRADES = of_topic("linear", "publicTrade.BTCUSDT")
FRAME = b'{"topic":"publicTrade.BTCUSDT", "ts":1}'


def stream(epoch: str = "01J") -> EventStream:
    return EventStream(TRADES, StreamSource("mainnet", epoch))


def test_the_frame_is_in_the_event_byte_for_byte():
    assert stream().live(FRAME, 1, 2).body.endswith(b'"data":' + FRAME + b"}")


def test_the_same_bytes_have_the_same_id_in_every_epoch_and_other_bytes_another():
    assert stream("01A").live(FRAME, 1, 2).id == stream("01B").live(FRAME, 9, 9).id
    assert stream().live(FRAME, 1, 2).id != stream().live(FRAME + b" ", 1, 2).id


def test_the_same_bytes_on_another_endpoint_have_another_id():
    spot = EventStream(of_topic("spot", "publicTrade.BTCUSDT"), StreamSource("mainnet", "01J"))
    assert spot.live(FRAME, 1, 2).id != stream().live(FRAME, 1, 2).id


def test_a_topic_counts_from_one_over_all_connections_that_carry_it():
    streams = EventStreams(StreamSource("mainnet", "01J"))
    events = [streams.of(TRADES).live(FRAME, 1, 2) for _ in range(3)]
    assert [json.loads(event.body)["sequence"] for event in events] == [f"{n:020d}" for n in (1, 2, 3)]


def test_epochs_sort_by_age():
    epochs = [new_epoch(ms, entropy=2**80 - 1 - ms) for ms in (1, 2, 1_800_000_000_000)]
    assert epochs == sorted(epochs)
    assert {len(epoch) for epoch in epochs} == {26}
