"""Whatever REST answers, at worst that one request fails."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
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
from common.lifecycle import Worker
from common.settings import Credentials
from ingestor.feed.backfill import BackfillRequest
from ingestor.feed.event_stream import EventStream, StreamSource
from ingestor.rest.account import Account
from ingestor.rest.client import RestClient, RestHistory
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.backfill import BackfillJobs
from ingestor.rest.jobs.key_check import KeyCheckJob
from ingestor.rest.jobs.scheduler import Job, JobWorker
from ingestor.rest.jobs.snapshots import SnapshotJob
from tests.kit import foreign
from tests.kit.rest import Answer, RestServer, refused, result, serving
from tests.kit.waiting import eventually
from tests.kit.workers import at_work

BACKFILLED = [of_topic("private", "execution"), of_topic("private", "order")]
BACKFILLED += [of_topic("linear", topic) for topic in ("publicTrade.BTCUSDT", "kline.1.BTCUSDT")]

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


@pytest.fixture
def server() -> Iterator[RestServer]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: RestServer) -> RestClient:
    credentials = Credentials("key", "secret")
    bybit = settings.Bybit("simulator", credentials, "", server.url)
    return RestClient(bybit, Account(credentials), lambda: int(time.time() * 1000))


def always(server: RestServer, body: bytes) -> None:
    server.answer = lambda _: Answer(body)


def history(channel: Channel) -> Callable[[RestClient], RestHistory]:
    return lambda rest: rest.history(channel, 0, 10**12, time.monotonic() + 3)


CALLS: list[Callable[[RestClient], Any]] = [
    RestClient.clock,
    RestClient.wallet,
    RestClient.open_orders,
    RestClient.positions,
    RestClient.key,
    lambda rest: rest.instruments("linear"),
    *map(history, BACKFILLED),
]


@given(body=bodies, call=st.sampled_from(CALLS))
@budget(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_is_an_answer_or_a_call_that_failed(
    server: RestServer, client: RestClient, body: bytes, call: Callable[[RestClient], Any]
):
    always(server, body)
    with suppress(Unavailable):
        answer = call(client)
        stream = EventStream(BACKFILLED[0], StreamSource("simulator", "01J"))
        for element in answer.elements if isinstance(answer, RestHistory) else ():
            assert stream.backfill(element.key, element.data, element.time_ms, 1).body


def test_the_text_of_a_refusal_is_fit_to_be_stored(server: RestServer, client: RestClient):
    server.answer = lambda _: refused(10003, "no \x00 key" + "x" * 1000)
    with pytest.raises(Unavailable, match="no \ufffd key") as refusal:
        client.wallet()
    assert len(str(refusal.value)) <= 500


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null", foreign.deeply(100_000).encode()])
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_is_not_an_object_is_a_call_that_failed(
    server: RestServer, client: RestClient, body: bytes, call: Callable[[RestClient], Any]
):
    always(server, body)
    try:
        found = call(client)
    except Unavailable:
        return
    assert isinstance(found, RestHistory)
    assert found.failures
    assert not found.elements


def test_an_instrument_that_lacks_a_field_does_not_hide_the_others(server: RestServer, client: RestClient):
    good = {"symbol": "A", "baseCoin": "B", "quoteCoin": "C", "status": "Trading"}
    bad: list[Any] = [{**good, "symbol": 5}, {**good, "symbol": "N\x00"}, {**good, "status": ""}, 7, [], None]
    bad += [{name: value for name, value in good.items() if name != left_out} for left_out in ("baseCoin", "status")]
    server.answer = lambda _: result({"category": "linear", "list": [*bad, good, {**good, "symbol": "Z"}, good]})
    assert [instrument.symbol for instrument in client.instruments("linear")] == ["A", "Z"]


def failures(worker: Worker) -> float:
    return REGISTRY.get_sample_value("wsgw_worker_failures_total", {"worker": worker.name}) or 0.0


def test_the_jobs_continue_after_answers_that_make_no_sense(server: RestServer, client: RestClient):
    published: list[Event] = []
    stream = EventStream(of_topic("private", "wallet"), StreamSource("simulator", "01J"))

    def publish(_channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        published.append(make(stream))
        return True

    always(server, b"[]")
    snapshots, backfills = SnapshotJob(client, ExchangeClock(), publish), BackfillJobs(client)
    jobs: list[Job[Any]] = [snapshots, *backfills, KeyCheckJob(client, lambda: True)]
    workers = [JobWorker(job) for job in jobs]
    before = [failures(worker) for worker in workers]
    answers: list[RestHistory] = []
    with ExitStack() as running:
        for worker in workers:
            running.enter_context(at_work(worker))
        for channel in BACKFILLED:
            backfills.request(BackfillRequest(channel, 0, 1, time.monotonic() + 5), answers.append)
        snapshots.request(stream.channel)
        eventually(lambda: len(answers) == len(BACKFILLED) and len(server.received) > 10, 20, "all have sent requests")
        assert {answer.healed for answer in answers} == {"no"}
        wallet = {"list": [{"accountType": "UNIFIED", "coin": []}], "timeNano": "1700000000000000000"}
        server.answer = lambda _: result(wallet)
        snapshots.request(stream.channel)
        eventually(lambda: published, 20, "a snapshot is published")
    assert [failures(worker) for worker in workers] == before
