"""The exchange misbehaves: it is noticed, reported, and everything recovers."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from tests.e2e.reading import Read, Reader
from tests.e2e.stack import Stack
from tests.faults.conftest import Exchange
from tests.kit.waiting import eventually

BOOK = "orderbook.50.BTCUSDT"
TICKER = "tickers.BTCUSDT"
SPREAD_BOOK = "orderbook.25.SOLUSDT_SOL/USDT"
SPOT_BOOK = "orderbook.50.ETHUSDT"
INVERSE_BOOK = "orderbook.50.BTCUSD"
INVERSE_TICKER = "tickers.BTCUSD"
FORMS = ["not_json", "truncated", "empty", "array", "binary", "invalid_utf8", "huge", "deep", "nan", "unknown_topic"]


class Watch:
    """Two active topics of one service, consumed continuously."""

    def __init__(self, gateway: Stack, service: str, reader: Reader) -> None:
        self.gateway = gateway
        self.service = service
        self._reader = reader

    def also(self, category: str, *topics: str) -> None:
        """Further topics of the same classes, which come through the same queues."""
        for topic in topics:
            self.gateway.subscribe(self.service, topic=topic, category=category)
        self.gateway.live(self.service)
        for topic in topics:
            self.flows(topic)

    def set_aside(self) -> float:
        return self.gateway.metrics().get('wsgw_frames_set_aside_total{endpoint="linear"}', 0.0)

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
        """Sequences have no hole within each run of the ingestor, and each closed gap follows an open one."""
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
        mine = Watch(gateway, service, reader)
        mine.flows(BOOK)
        mine.flows(TICKER)
        yield mine
        mine.assert_complete(BOOK)
        mine.assert_complete(TICKER)
    gateway.call("DELETE", f"/api/v1/subscriptions/by-service/{service}")


def test_a_lost_connection_is_a_gap_that_closes(watch: Watch, exchange: Exchange):
    for number, how in enumerate(("drop", "abort", "reset")):
        exchange.control(how, endpoint="linear")
        for topic in (BOOK, TICKER):
            gap = watch.gap(topic, number)
            assert (gap["endpoint"], gap["topic"]) == ("linear", topic)
            assert gap["from"] < gap["to"]
            watch.flows(topic)
        [after] = [event for event in watch.live(BOOK) if event["id"] == watch.gap(BOOK, number)["first_id"]]
        assert after["data"]["type"] == "snapshot"
    events = watch.events(BOOK)
    for n, event in enumerate(events):
        if event["data"].get("state") == "closed":
            assert events[n + 1]["id"] == event["data"]["first_id"]


def test_gaps_are_listed(watch: Watch, exchange: Exchange):
    exchange.control("abort", endpoint="linear")
    watch.gap(BOOK, 0)

    def listed() -> list[dict[str, Any]]:
        rows = watch.gateway.call("GET", "/api/v1/gaps?limit=100")[1]["items"]
        return [row for row in rows if row["topic"] == BOOK and row["closed"]]

    assert eventually(listed, 5, "the gap is in the table")


def test_whatever_falls_silent_is_noticed_and_comes_back_and_nothing_else_is_touched(watch: Watch, exchange: Exchange):
    """Half a frame and no more, a silent connection, and a topic alone: at once, as each takes long."""
    watch.also("spot", SPOT_BOOK)
    watch.also("inverse", INVERSE_BOOK, INVERSE_TICKER)
    before = {endpoint: exchange.connections(endpoint)[0]["id"] for endpoint in ("linear", "spot", "inverse")}
    exchange.fault("stall", connection=before["linear"])
    exchange.fault("silence", connection=before["spot"], seconds=60)
    exchange.fault("mute", endpoint="inverse", topic=INVERSE_BOOK)
    eventually(lambda: watch.gaps(INVERSE_BOOK), 40, "the silence of one topic is noticed")
    for endpoint, topic in (("linear", BOOK), ("linear", TICKER), ("spot", SPOT_BOOK)):
        assert watch.gap(topic, 0)["endpoint"] == endpoint
    exchange.well()
    assert watch.gap(INVERSE_BOOK, 0)["cause"] == "silent"
    for topic in (BOOK, TICKER, SPOT_BOOK, INVERSE_BOOK, INVERSE_TICKER):
        watch.flows(topic)
    assert watch.gaps(INVERSE_TICKER) == []
    after = {endpoint: exchange.connections(endpoint)[0]["id"] for endpoint in before}
    assert {endpoint for endpoint in before if before[endpoint] == after[endpoint]} == {"inverse"}


def test_garbage_costs_one_frame_and_not_the_connection(watch: Watch, exchange: Exchange):
    [before] = exchange.connections("linear")
    for form in FORMS:
        more = {"bytes": 9 * 2**20} if form == "huge" else {}
        set_aside = watch.set_aside()
        exchange.fault("garbage", endpoint="linear", topic=BOOK, form=form, **more)
        eventually(lambda seen=set_aside: watch.set_aside() > seen, 10, f"{form} is set aside")  # type: ignore[misc]
        watch.flows(BOOK)
    [after] = exchange.connections("linear")
    assert after["id"] == before["id"]
    assert watch.gaps(BOOK) == []


def test_what_is_new_flows_untouched(watch: Watch, exchange: Exchange):
    exchange.fault("garbage", endpoint="linear", topic=TICKER, form="missing_ts")
    eventually(lambda: [event for event in watch.live(TICKER) if "time" not in event], 10, "a frame without ts arrived")
    exchange.fault("garbage", endpoint="linear", topic=TICKER, form="unknown_fields")
    eventually(lambda: [event for event in watch.live(TICKER) if len(event["data"]) > 5], 10, "a field more arrived")


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


def test_a_handshake_that_fails_is_tried_again(watch: Watch, exchange: Exchange):
    topics = {"linear": BOOK, "spot": SPOT_BOOK, "inverse": INVERSE_BOOK, "spread": SPREAD_BOOK}
    for endpoint, topic in topics.items():
        if endpoint != "linear":
            watch.also(endpoint, topic)
    for endpoint, form in zip(topics, ("drip", "hang", "429", "503"), strict=True):
        exchange.fault("handshake", endpoint=endpoint, form=form, retry_after_s=1)
        exchange.control("abort", endpoint=endpoint)
    for topic in topics.values():
        watch.gap(topic, 0, within_s=60)
        watch.flows(topic)


def test_maintenance_passes(watch: Watch, exchange: Exchange):
    exchange.control("maintenance", seconds=1)
    watch.gap(BOOK, 0, within_s=60)
    eventually(lambda: watch.gateway.call("GET", "/health")[0] == 200, 60, "healthy again")


def test_an_ack_that_is_late_or_lost_is_no_loss(watch: Watch, exchange: Exchange):
    for kind, topic in (("late_ack", "tickers.SOLUSDT"), ("lost_ack", "tickers.DOGEUSDT")):
        exchange.fault(kind, endpoint="linear")
        watch.gateway.subscribe("late", topic=topic)
        watch.gateway.live("late", within_s=30)
    watch.gateway.call("DELETE", "/api/v1/subscriptions/by-service/late")


def test_a_refused_topic_is_reported_with_the_reason_of_bybit_and_costs_no_other(watch: Watch, exchange: Exchange):
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


def test_the_next_run_reports_what_was_missed_since_the_last_one(watch: Watch):
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
