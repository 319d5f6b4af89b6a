"""The exchange misbehaves: it is noticed, told, and everything comes back."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from tests.e2e.reading import Read, Reader
from tests.e2e.stack import Stack
from tests.faults.conftest import Exchange
from tests.waiting import eventually

BOOK = "orderbook.50.BTCUSDT"
TICKER = "tickers.BTCUSDT"
FORMS = ["not_json", "truncated", "empty", "array", "binary", "invalid_utf8", "huge", "deep", "nan", "unknown_topic"]


class Watch:
    """Two lively topics of one service, read as they come."""

    def __init__(self, gateway: Stack, reader: Reader) -> None:
        self.gateway = gateway
        self._reader = reader

    def events(self, topic: str) -> list[dict[str, Any]]:
        return [event for message in self._reader.messages if (event := parsed(message))["subject"] == topic]

    def gaps(self, topic: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events(topic) if event["type"] == "bybit.gap"]

    def flows(self, topic: str, within_s: float = 30.0) -> None:
        """Wait for three live events that are not here yet."""
        seen = len(self.live(topic))
        eventually(lambda: len(self.live(topic)) >= seen + 3, within_s, f"{topic} flows")

    def live(self, topic: str) -> list[dict[str, Any]]:
        return [event for event in self.events(topic) if event["origin"] == "live"]

    def gap(self, topic: str, number: int, within_s: float = 40.0) -> dict[str, Any]:
        """The closed window with this number, counted from 0."""
        closed = eventually(
            lambda: [gap for gap in self.gaps(topic) if gap["state"] == "closed"][number:], within_s, f"gap of {topic}"
        )
        return closed[0]

    def assert_complete(self, topic: str) -> None:
        """Counted without a hole within each life of the ingestor, and an open gap stands before each closed one."""
        for _, life in groupby(self.events(topic), lambda event: event["epoch"]):
            counted = [int(event["sequence"]) for event in life]
            assert counted == list(range(counted[0], counted[0] + len(counted)))
        assert [gap["state"] for gap in self.gaps(topic)] == ["open", "closed"] * (len(self.gaps(topic)) // 2)


def parsed(message: Read) -> dict[str, Any]:
    return dict(json.loads(message.body))


@pytest.fixture
def watch(gateway: Stack, exchange: Exchange, request: pytest.FixtureRequest) -> Iterator[Watch]:
    service = f"s{abs(hash(request.node.name)) % 10**9}"
    queues = {gateway.subscribe(service, topic=topic)["queue"] for topic in (BOOK, TICKER)}
    gateway.live(service)
    with Reader(gateway.broker, tuple(queues)) as reader:
        mine = Watch(gateway, reader)
        mine.flows(BOOK)
        mine.flows(TICKER)
        yield mine
        mine.assert_complete(BOOK)
        mine.assert_complete(TICKER)
    gateway.call("DELETE", f"/api/v1/subscriptions/by-service/{service}")


@pytest.mark.parametrize("how", ["drop", "abort", "reset"])
def test_a_lost_connection_is_a_gap_that_closes(watch: Watch, exchange: Exchange, how: str):
    exchange.control(how, endpoint="linear")
    for topic in (BOOK, TICKER):
        gap = watch.gap(topic, 0)
        assert (gap["endpoint"], gap["topic"]) == ("linear", topic)
        assert gap["from"] < gap["to"]
        watch.flows(topic)
    events = watch.events(BOOK)
    closed = next(
        n for n, event in enumerate(events) if event["type"] == "bybit.gap" and event["data"]["state"] == "closed"
    )
    assert events[closed + 1]["data"]["type"] == "snapshot"
    assert events[closed]["data"]["first_id"] == events[closed + 1]["id"]


def test_gaps_are_listed(watch: Watch, exchange: Exchange):
    exchange.control("abort", endpoint="linear")
    watch.gap(BOOK, 0)

    def listed() -> list[dict[str, Any]]:
        rows = watch.gateway.call("GET", "/api/v1/gaps?limit=100")[1]["items"]
        return [row for row in rows if row["topic"] == BOOK and row["closed"]]

    assert eventually(listed, 5, "the gap is in the table")


@pytest.mark.parametrize(("kind", "more"), [("stall", {}), ("silence", {"seconds": 60})])
def test_a_socket_that_says_nothing_more_is_noticed_and_replaced(
    watch: Watch, exchange: Exchange, kind: str, more: dict[str, object]
):
    [before] = exchange.connections("linear")
    exchange.fault(kind, connection=before["id"], **more)
    watch.gap(BOOK, 0)
    watch.flows(BOOK)


def test_a_topic_that_falls_silent_alone_is_asked_for_anew_and_the_others_stay(watch: Watch, exchange: Exchange):
    exchange.fault("mute", endpoint="linear", topic=BOOK)
    eventually(lambda: watch.gaps(BOOK), 40, "the silence is noticed")
    exchange.well()
    assert watch.gap(BOOK, 0)["cause"] == "silent"
    watch.flows(BOOK)


@pytest.mark.parametrize("form", FORMS)
def test_garbage_costs_one_frame_and_not_the_connection(watch: Watch, exchange: Exchange, form: str):
    more = {"bytes": 9 * 2**20} if form == "huge" else {}
    [before] = exchange.connections("linear")
    set_aside = watch.gateway.metrics()['wsgw_frames_set_aside_total{endpoint="linear"}']
    exchange.fault("garbage", endpoint="linear", topic=BOOK, form=form, **more)
    eventually(
        lambda: watch.gateway.metrics()['wsgw_frames_set_aside_total{endpoint="linear"}'] > set_aside, 10, "set aside"
    )
    watch.flows(BOOK)
    [after] = exchange.connections("linear")
    assert after["id"] == before["id"]
    assert watch.gaps(BOOK) == []


@pytest.mark.parametrize("form", ["missing_ts", "unknown_fields"])
def test_what_is_new_flows_untouched(watch: Watch, exchange: Exchange, form: str):
    exchange.fault("garbage", endpoint="linear", topic=TICKER, form=form)

    def strange(event: dict[str, Any]) -> bool:
        return "time" not in event if form == "missing_ts" else len(event["data"]) > 5

    eventually(lambda: [event for event in watch.live(TICKER) if strange(event)], 10, f"the {form} frame arrived")


def test_a_jump_in_a_book_is_a_gap_and_a_fresh_snapshot(watch: Watch, exchange: Exchange):
    exchange.fault("lose_update", endpoint="linear", topic=BOOK)
    gap = watch.gap(BOOK, 0)
    assert gap["cause"] == "sequence jump"
    [after] = [event for event in watch.live(BOOK) if event["id"] == gap["first_id"]]
    assert after["data"]["type"] == "snapshot"
    assert watch.gaps(TICKER) == []


def test_a_restarted_book_is_no_gap(watch: Watch, exchange: Exchange):
    exchange.control("restart-book", endpoint="linear", topic=BOOK)
    eventually(lambda: [e for e in watch.live(BOOK) if e["data"]["data"]["u"] == 1], 10, "the book restarted")
    watch.flows(BOOK)
    assert watch.gaps(BOOK) == []


@pytest.mark.parametrize("form", ["429", "503", "drip", "hang"])
def test_a_handshake_that_fails_is_tried_again(watch: Watch, exchange: Exchange, form: str):
    exchange.fault("handshake", endpoint="linear", form=form, retry_after_s=1)
    exchange.control("abort", endpoint="linear")
    watch.gap(BOOK, 0, within_s=60)
    watch.flows(BOOK)


def test_maintenance_passes(watch: Watch, exchange: Exchange):
    exchange.control("maintenance", seconds=3)
    watch.gap(BOOK, 0, within_s=60)
    eventually(lambda: watch.gateway.call("GET", "/health")[0] == 200, 60, "healthy again")


@pytest.mark.parametrize("kind", ["late_ack", "lost_ack"])
def test_an_ack_that_is_late_or_lost_is_no_loss(watch: Watch, exchange: Exchange, kind: str):
    exchange.fault(kind, endpoint="linear")
    watch.gateway.subscribe("late", topic="tickers.SOLUSDT")
    watch.gateway.live("late", within_s=30)
    watch.gateway.call("DELETE", "/api/v1/subscriptions/by-service/late")


def test_a_refused_topic_is_told_in_bybits_words_and_costs_no_other(watch: Watch, exchange: Exchange):
    exchange.fault("refuse_topic", endpoint="linear", topic="tickers.XRPUSDT")
    row = watch.gateway.subscribe("refused", topic="tickers.XRPUSDT")
    watch.gateway.subscribe("refused", topic="tickers.ETHUSDT")

    def seen() -> dict[str, Any]:
        return dict(watch.gateway.call("GET", f"/api/v1/subscriptions/{row['id']}")[1])

    eventually(lambda: seen()["status"] == "rejected", 10, "it is rejected")
    assert "handler not found" in seen()["reason"]
    watch.flows(BOOK)
    watch.gateway.call("DELETE", "/api/v1/subscriptions/by-service/refused")


def test_a_refused_key_parks_the_private_socket_and_no_other(watch: Watch, exchange: Exchange):
    exchange.fault("refuse_auth", message="API key is invalid.")
    exchange.control("abort", endpoint="private")

    def private() -> dict[str, Any]:
        rows = watch.gateway.call("GET", "/api/v1/connections")[1]["items"]
        return dict(next(row for row in rows if row["endpoint"] == "private"))

    eventually(lambda: private()["state"] == "parked", 10, "parked")
    assert "API key is invalid." in private()["last_error"]
    watch.flows(BOOK)
    exchange.well()
    watch.gateway.processes["ingestor"].hang_up()
    eventually(lambda: private()["state"] == "live", 10, "live again after SIGHUP")
    assert watch.gaps(BOOK) == []


def test_the_next_life_tells_what_it_missed_of_the_one_before(watch: Watch):
    before = watch.live(BOOK)[-1]
    watch.gateway.processes["ingestor"].kill()
    watch.gateway.start("ingestor")
    for topic in (BOOK, TICKER):
        gap = watch.gap(topic, 0)
        assert gap["cause"] == "restart"
        assert gap["from"] < gap["to"]
        assert gap["from"] < before["receivedtime"] or topic is not BOOK
        watch.flows(topic)
        life = [event for event in watch.events(topic) if event["epoch"] != before["epoch"]]
        assert [event["data"].get("state") for event in life[:3]] == ["open", "closed", None]
        assert life[2]["id"] == gap["first_id"]
    rows = watch.gateway.call("GET", "/api/v1/gaps?limit=100")[1]["items"]
    assert {row["topic"] for row in rows if row["cause"] == "restart"} == {BOOK, TICKER, "wallet"}
