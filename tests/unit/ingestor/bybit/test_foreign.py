"""Whatever the exchange sends becomes a value, and never an exception."""

import json

import pytest
from hypothesis import example, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from common.channels import Channel, of_topic
from common.settings import Credentials
from ingestor.bybit import identity
from ingestor.bybit.actions import Clock, Deliver, Marked, Send, SetAside
from ingestor.bybit.session import Session, Timing
from ingestor.feed.backfill import Backfill
from ingestor.feed.gaps import Gap
from ingestor.rest.clock import ExchangeClock
from tests.kit import foreign

BACKFILLED = (
    ("linear", "publicTrade.BTCUSDT"),
    ("linear", "kline.1.BTCUSDT"),
    ("private", "order"),
    ("private", "execution"),
)
CLASSES = ("trades", "orderbook", "ticker", "kline", "liquidation", "order", "execution", "position", "balance", "raw")
objects = foreign.documents.map(lambda document: json.dumps(document).encode(errors="replace"))


def topics() -> list[Channel]:
    return [of_topic("linear", topic) for topic in foreign.TOPICS]


def sessions() -> list[Session]:
    public, private = Session("linear", Timing(), 0.0), Session("private", Timing(), 0.0, Credentials("key", "secret"))
    public.want(topics(), 0.0)
    private.want([of_topic("private", "order")], 0.0)
    for each in (public, private):
        each.opened(0.0, 0)
    return [public, private]


@given(frames=st.lists(foreign.frames, max_size=5))
@budget(max_examples=100, deadline=None)
def test_a_session_accepts_any_frames(frames: list[bytes]):
    for talk in sessions():
        for number, frame in enumerate(frames):
            actions = talk.received(frame, float(number))
            assert all(action.frame == frame for action in actions if isinstance(action, SetAside | Deliver))
        talk.passed(1000.0)
        talk.lost("over", 1001.0)


@given(frames=st.lists(objects, max_size=4), kind=st.sampled_from(BACKFILLED))
@example(frames=[b'{"data":[7]}'], kind=BACKFILLED[1])
@example(frames=[b'{"data":null}'], kind=BACKFILLED[0])
@example(frames=[b"{}"], kind=BACKFILLED[0])
@example(frames=[b'{"data":[{"T":null,"i":"x"}]}'], kind=BACKFILLED[0])
@budget(max_examples=100, deadline=None)
def test_a_history_is_compared_with_any_frames(frames: list[bytes], kind: tuple[str, str]):
    backfill = Backfill(of_topic(*kind))
    for frame in frames:
        backfill.pushed(frame)
    backfill.begin(Gap("linear", kind[1], "reset", 0, None), from_ms=10, to_ms=20, now=0.0)
    for frame in frames:
        backfill.pushed(frame)
    assert backfill.missing([]) == []
    backfill.missing([identity.Element("key", 15, b"{}")])


@given(frame=objects, kind=st.sampled_from(CLASSES))
@example(frame=f'{{"ts":1,"data":{foreign.deeply(1000)}}}'.encode(), kind="raw")
@example(frame=b'{"data":{"u":[1],"seq":1}}', kind="orderbook")
@example(frame=b'{"data":[{"i":{"a":1}}]}', kind="trades")
@example(
    frame=b'{"data":[{"orderId":"1","updatedTime":"1","orderStatus":"x","cumExecQty":[1],"cancelType":"UNKNOWN"}]}',
    kind="order",
)
@example(
    frame=b'{"data":[{"orderId":"1","updatedTime":"1","orderStatus":"","cumExecQty":"1e999999999999","cancelType":""}]}',
    kind="order",
)
@budget(max_examples=100, deadline=None)
def test_any_push_has_a_key_that_two_connections_agree_on(frame: bytes, kind: str):
    assert {identity.push_key(kind, frame), identity.push_key(kind, bytes(frame))} == {identity.push_key(kind, frame)}


def test_a_row_of_another_shape_affects_no_other_row():
    frame = b'{"data":[{"i":"1","T":5},7,{"T":"x","i":"2"},{"i":"3","T":9}]}'
    assert identity.identities("trades", [frame]) == {"1", "2", "3"}
    assert identity.trade_times([frame]) == [5, 9]


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 23, "", "-1", "\u0661"])
def test_a_pong_with_an_invalid_time_has_none(digits: str):
    [public, _] = sessions()
    [action] = public.received(json.dumps({"op": "pong", "args": [digits]}).encode(), 1.0)
    assert isinstance(action, Clock)
    assert action.exchange_ms is None


@given(exchange_ms=st.integers())
@example(exchange_ms=10**23)
@example(exchange_ms=identity.LATEST_MS)
@budget(max_examples=100, deadline=None)
def test_the_exchanges_clock_stays_within_plausible_times(exchange_ms: int):
    clock = ExchangeClock(wall_ms=lambda: 1_700_000_000_000.0)
    clock.observe(exchange_ms, 0.0)
    assert 1_500_000_000_000 <= clock.now_ms() <= 4_102_444_800_000


def test_a_machine_whose_own_clock_is_decades_off_learns_the_exchanges():
    clock = ExchangeClock(wall_ms=lambda: 0.0)
    clock.observe(1_700_000_000_000, 0.0)
    assert clock.now_ms() == 1_700_000_000_000


def test_the_text_of_a_refusal_is_fit_to_be_stored():
    [public, _] = sessions()
    sent = public.want([*topics(), of_topic("linear", "tickers.NOPE")], 1.0)
    [req_id] = [json.loads(action.text)["req_id"] for action in sent if isinstance(action, Send)]
    text = "no such topic:tickers.NOPE \x00" + "x" * 10_000
    actions = public.received(json.dumps({"success": False, "ret_msg": text, "req_id": req_id}).encode(), 2.0)
    [reason] = [action.reason for action in actions if isinstance(action, Marked)]
    assert "\x00" not in reason
    assert len(reason) <= 500
    assert "tickers.NOPE" in reason
