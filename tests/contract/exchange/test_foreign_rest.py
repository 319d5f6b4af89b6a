"""Whatever is answered over REST, it is that request's failure and no more."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from common import settings
from common.channels import Channel, of_topic
from common.errors import Unavailable
from common.events import Event
from common.lifecycle import Crew, Worker
from common.settings import Credentials
from ingestor.feed.event_stream import EventStream, StreamSource
from ingestor.rest.account import Account
from ingestor.rest.client import RestClient, RestHistory
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.backfill import BackfillJobs, BackfillRequest
from ingestor.rest.jobs.key_check import KeyCheckJob
from ingestor.rest.jobs.snapshots import SnapshotJob
from tests.kit import foreign
from tests.kit.waiting import eventually

PAST = [of_topic("private", "execution"), of_topic("private", "order")]
PAST += [of_topic("linear", topic) for topic in ("publicTrade.BTCUSDT", "kline.1.BTCUSDT")]

candles = st.lists(foreign.values, max_size=7)
results = foreign.values | st.fixed_dictionaries(
    {"category": st.just("linear"), "list": st.lists(foreign.rows | candles | foreign.values, max_size=3)},
    optional={"nextPageCursor": foreign.values, "timeNano": foreign.values, "expiredAt": foreign.values},
)
answers = foreign.values | st.fixed_dictionaries(
    {"retCode": st.sampled_from([0, 0, 0, 10003, None, "0"])},
    optional={"retMsg": foreign.values, "result": results, "time": foreign.values},
)
bodies = (
    answers.map(lambda answer: json.dumps(answer).encode(errors="replace"))
    | st.binary(max_size=50)
    | st.just(foreign.deeply(100_000).encode())
)


class Exchange:
    """Answers every request with the same body."""

    def __init__(self) -> None:
        self.body, self.asked = b"[]", 0
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mine.asked += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(mine.body)))
                self.end_headers()
                self.wfile.write(mine.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        credentials = Credentials("key", "secret")
        bybit = settings.Bybit("simulator", credentials, "", f"http://127.0.0.1:{self._server.server_port}")
        self.rest = RestClient(bybit, Account(credentials), lambda: int(time.time() * 1000))

    def says(self, result: object) -> None:
        self.body = json.dumps({"retCode": 0, "retMsg": "OK", "result": result}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    mine = Exchange()
    yield mine
    mine.close()


def past(channel: Channel) -> Callable[[RestClient], RestHistory]:
    return lambda rest: rest.past(channel, 0, 10**12, time.monotonic() + 3)


CALLS: list[Callable[[RestClient], Any]] = [
    RestClient.clock,
    RestClient.wallet,
    RestClient.open_orders,
    RestClient.positions,
    RestClient.key,
    lambda rest: rest.instruments("linear"),
    *map(past, PAST),
]


@given(body=bodies, call=st.sampled_from(CALLS))
@budget(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_is_an_answer_or_a_call_that_failed(
    exchange: Exchange, body: bytes, call: Callable[[RestClient], Any]
):
    exchange.body = body
    with suppress(Unavailable):
        answer = call(exchange.rest)
        line = EventStream(PAST[0], StreamSource("simulator", "01J"))
        for element in answer.elements if isinstance(answer, RestHistory) else ():
            assert line.backfill(element.key, element.data, element.time_ms, 1).body


def test_the_words_of_a_refusal_are_fit_to_be_stored(exchange: Exchange):
    exchange.body = json.dumps({"retCode": 10003, "retMsg": "no \x00 key" + "x" * 1000}).encode()
    with pytest.raises(Unavailable, match="no \ufffd key") as refused:
        exchange.rest.wallet()
    assert len(str(refused.value)) <= 500


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null", foreign.deeply(100_000).encode()])
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_is_no_object_is_a_call_that_failed(
    exchange: Exchange, body: bytes, call: Callable[[RestClient], Any]
):
    exchange.body = body
    try:
        found = call(exchange.rest)
    except Unavailable:
        return
    assert isinstance(found, RestHistory)
    assert found.failures
    assert not found.elements


def test_an_instrument_that_lacks_something_takes_no_other_one_along(exchange: Exchange):
    good = {"symbol": "A", "baseCoin": "B", "quoteCoin": "C", "status": "Trading"}
    bad: list[Any] = [{**good, "symbol": 5}, {**good, "symbol": "N\x00"}, {**good, "status": ""}, 7, [], None]
    bad += [{name: value for name, value in good.items() if name != left_out} for left_out in ("baseCoin", "status")]
    exchange.says({"category": "linear", "list": [*bad, good, {**good, "symbol": "Z"}, good]})
    assert [instrument.symbol for instrument in exchange.rest.instruments("linear")] == ["A", "Z"]


def failures(worker: Worker) -> float:
    return REGISTRY.get_sample_value("wsgw_worker_failures_total", {"worker": worker.name}) or 0.0


def test_the_threads_that_ask_go_on_after_answers_that_make_no_sense(exchange: Exchange):
    told: list[Event] = []
    line = EventStream(of_topic("private", "wallet"), StreamSource("simulator", "01J"))

    def tell(_channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        told.append(make(line))
        return True

    snapshots, histories = SnapshotJob(exchange.rest, ExchangeClock(), tell), BackfillJobs(exchange.rest)
    workers: list[Worker] = [snapshots, *histories.workers, KeyCheckJob(exchange.rest, lambda: True)]
    before = [failures(worker) for worker in workers]
    running = [Crew().start(worker) for worker in workers]
    answers: list[RestHistory] = []
    for channel in PAST:
        histories.ask(BackfillRequest(channel, 0, 1, time.monotonic() + 5, answers.append))
    snapshots.ask(line.channel)
    eventually(lambda: len(answers) == len(PAST) and exchange.asked > 10, 20, "all have asked")
    assert {answer.healed for answer in answers} == {"no"}
    exchange.says({"list": [{"accountType": "UNIFIED", "coin": []}], "timeNano": "1700000000000000000"})
    snapshots.ask(line.channel)
    eventually(lambda: told, 20, "a snapshot is published")
    for each in running:
        each.stop()
        assert each.ended(within_s=10)
    assert [failures(worker) for worker in workers] == before
