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


def test_a_snapshot_has_an_id_that_is_known_before_it_is_made():
    made = stream().snapshot(b'{"a":1}', 5, 3_000_000_000)
    body = json.loads(made.body)
    assert (body["type"], body["origin"], body["data"]) == ("bybit.trades.snapshot", "snapshot", {"a": 1})
    assert (made.routing_key, made.timestamp_s) == (TRADES.routing_key, 3)
    assert body["id"] == made.id == stream("another").snapshot_id(b'{"a":1}', 5)
    spot = EventStream(of_topic("spot", "publicTrade.BTCUSDT"), StreamSource("mainnet", "01J"))
    others = [stream().snapshot_id(b'{"a":1}', 6), stream().snapshot_id(b"{}", 5), spot.snapshot_id(b'{"a":1}', 5)]
    assert len({made.id, *others}) == 4


def test_an_element_of_a_backfill_has_an_id_that_follows_from_its_key():
    made = stream().backfill("t1", b'{"a":1}', 5, 3_000_000_000)
    body = json.loads(made.body)
    assert (body["type"], body["origin"], body["data"]) == ("bybit.trades.backfill", "backfill", {"a": 1})
    assert (made.event_class, made.routing_key, made.timestamp_s) == ("trades", TRADES.routing_key, 3)
    assert body["id"] == made.id == stream("another").backfill("t1", b"{}", 9, 9).id
    assert made.id != stream().backfill("t2", b'{"a":1}', 5, 3_000_000_000).id


def test_a_gap_has_an_id_that_follows_from_its_begin_and_its_state():
    opened: dict[str, object] = {"state": "open", "from": "1970"}
    made = stream().gap(opened, 3_000_000_000)
    body = json.loads(made.body)
    assert (body["type"], body["origin"], body["data"]) == ("bybit.gap", "gateway", opened)
    assert (made.event_class, made.routing_key, made.timestamp_s) == ("gap", TRADES.gap_key, 3)
    assert body["id"] == made.id == stream("another").gap(opened | {"to": "1971"}, 9).id
    ids = [made.id, stream().gap(opened | {"state": "closed"}, 9).id, stream().gap(opened | {"from": "1971"}, 9).id]
    assert len(set(ids)) == 3


def test_a_live_event_becomes_the_last_one_and_others_do_not():
    one = stream()
    live = one.live(FRAME, 1, 4_999_999_999)
    one.snapshot(b"{}", 5, 1)
    one.backfill("t1", b"{}", 5, 1)
    assert one.last_id == live.id
    assert (live.event_class, live.routing_key, live.timestamp_s) == ("trades", TRADES.routing_key, 4)
