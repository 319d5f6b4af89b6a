"""Whatever the exchange does, what it serves ends up as what is wanted, and nothing unchanged is touched."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.channels import of_topic
from ingestor.bybit.actions import Action, Close, Connect, Deliver, Interrupted, Resumed, Send
from ingestor.bybit.session import Session, Timing
from ingestor.bybit.states import State, TopicState

BOOKS = [f"orderbook.50.S{n}USDT" for n in range(4)]
GOOD = [f"publicTrade.S{n}USDT" for n in range(4)] + [f"tickers.S{n}USDT" for n in range(4)] + BOOKS
BAD = ["tickers.NOPE1", "tickers.NOPE2"]
PONG = b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'


ENDING = (TopicState.OUTDATED, TopicState.RENEWING, TopicState.UNSUBSCRIBING)
IN_FLIGHT = (TopicState.SUBSCRIBING, TopicState.OUTDATED, TopicState.UNSUBSCRIBING)


class Exchange:
    """The linear endpoint of one connection: a request with one bad topic is refused as a whole."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self._update_ids: dict[str, int] = {}  # of the latest message of each book

    def answer(self, request: dict[str, Any]) -> bytes:
        text = self._subscribe(request["args"]) if request["op"] == "subscribe" else self._unsubscribe(request["args"])
        reply = {"success": not text, "ret_msg": text, "conn_id": "c", "req_id": request["req_id"]}
        return json.dumps(reply | {"op": request["op"]}).encode()

    def push(self, topic: str, skipped: int = 0) -> bytes:
        """The next message: of a book first a snapshot, then deltas; some of these may not arrive."""
        if topic not in BOOKS:
            return json.dumps({"topic": topic, "type": "snapshot", "ts": 1, "data": {}}).encode()
        kind = "delta" if topic in self._update_ids else "snapshot"
        self._update_ids[topic] = update_id = self._update_ids.get(topic, 100) + 1 + skipped
        return json.dumps({"topic": topic, "type": kind, "ts": 1, "data": {"u": update_id}}).encode()

    def _subscribe(self, topics: list[str]) -> str:
        for topic in topics:
            if topic in BAD:
                return f"error:handler not found,topic:{topic}"
            if topic in self.held:
                return f"error:already subscribed,topic:{topic}"
        self.held |= set(topics)
        return ""

    def _unsubscribe(self, topics: list[str]) -> str:
        self.held -= set(topics)
        for topic in topics:
            self._update_ids.pop(topic, None)
        return ""


class SessionMachine(RuleBasedStateMachine):
    """Requests and replies wait in between, so that they can be late, lost and out of order."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.session = Session("linear", Timing(), now=0.0, draw=lambda: 0.5)
        self.exchange: Exchange | None = None
        self.requests: list[dict[str, Any]] = []
        self.replies: list[bytes] = []
        self.wanted: set[str] = set()
        self.missing: set[str] = set()
        self.touched: list[str] = []
        self.settled = 0

    # -- what the world does ---------------------------------------------------------------------------------

    @rule(topics=st.sets(st.sampled_from(GOOD + BAD)), missed=st.sets(st.sampled_from(GOOD + BAD)))
    def want(self, topics: set[str], missed: set[str]) -> None:
        self.wanted = topics
        self._perform(self.session.want([of_topic("linear", topic) for topic in sorted(topics)], self.now, missed))

    @rule(which=st.integers(0, 20), lost=st.sampled_from(["no", "no", "no", "request", "reply"]))
    def exchange_answers(self, which: int, lost: str) -> None:
        if self.exchange is None or not self.requests:
            return
        request = self.requests.pop(which % len(self.requests))
        if lost == "request":
            return
        reply = self.exchange.answer(request)
        if lost == "no":
            self.replies.append(reply)

    @rule(which=st.integers(0, 20))
    def reply_arrives(self, which: int) -> None:
        if self.exchange is not None and self.replies:
            self._receive(self.replies.pop(which % len(self.replies)))

    @rule(which=st.integers(0, 20), skipped=st.sampled_from([0, 0, 0, 1]))
    def data_arrives(self, which: int, skipped: int) -> None:
        if self.exchange is not None and self.exchange.held:
            topic = sorted(self.exchange.held)[which % len(self.exchange.held)]
            self._receive(self.exchange.push(topic, skipped))

    @rule(topics=st.sets(st.sampled_from(GOOD + BAD), min_size=1, max_size=3))
    def received_data_is_lost(self, topics: set[str]) -> None:
        self._perform(self.session.resubscribe(sorted(topics), self.now))

    @rule()
    def instruments_change(self) -> None:
        self._perform(self.session.retry_rejected(self.now))

    @rule()
    def connection_breaks(self) -> None:
        if self.exchange is not None:
            self._hang_up()
            self._perform(self.session.lost("reset", self.now))

    @rule(seconds=st.floats(0.1, 8.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._perform(self.session.passed(self.now))

    @precondition(lambda self: self.settled < 2)  # it takes long
    @rule()
    def all_is_well_for_a_while(self) -> None:
        """Then what the exchange holds is what is wanted, minus what it rejects."""
        self.settled += 1
        for _ in range(60):
            self._good_second()
        held = set() if self.exchange is None else self.exchange.held
        rejected = {n for n, t in self.session.topics.by_name.items() if t.state is TopicState.REJECTED}
        assert rejected == self.wanted & set(BAD)
        assert held == self.wanted - set(BAD)
        assert not self.missing & held
        self.touched.clear()
        for _ in range(30):
            self._good_second()
        assert set(self.touched) <= set(BAD)

    def _good_second(self) -> None:
        self.now += 1.0
        self._perform(self.session.passed(self.now))
        rounds = 0
        while self.exchange is not None and (self.requests or self.replies):
            rounds += 1
            assert rounds < 200, "requests never end"
            self.replies += [self.exchange.answer(request) for request in self.requests]
            self.requests.clear()
            self._receive(self.replies.pop(0))
        if self.exchange is not None:
            self._receive(PONG)
            for topic in sorted(self.exchange.held):
                if self.exchange is not None:
                    self._receive(self.exchange.push(topic))

    def teardown(self) -> None:
        self.all_is_well_for_a_while()

    # -- performing the session's actions ---------------------------------------------------------------------

    def _receive(self, frame: bytes) -> None:
        self._perform(self.session.received(frame, self.now))

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Connect():
                    self.exchange = Exchange()
                    self._perform(self.session.opened(self.now, 0))
                case Close():
                    self._hang_up()
                case Send():
                    request = json.loads(action.text)
                    if request["op"] != "ping":
                        self.touched += request["args"]
                        self.requests.append(request)
                case Interrupted():
                    assert action.topic not in self.missing
                    self.missing.add(action.topic)
                case Resumed():
                    self.missing.remove(action.topic)
                case Deliver():
                    assert action.topic not in self.missing or self._ends(action.topic)
                case _:
                    pass

    def _ends(self, topic: str) -> bool:
        """What still comes of this subscription is delivered, and shows nothing about the next one."""
        subscription = self.session.topics.by_name[topic]
        incomplete = subscription.book is not None and subscription.book.update_id is None
        return incomplete or subscription.state in ENDING

    def _hang_up(self) -> None:
        self.exchange = None
        self.requests.clear()
        self.replies.clear()

    @invariant()
    def the_exchange_is_known_exactly_when_we_are_connected(self) -> None:
        connected = self.session.state in (State.LIVE, State.AUTHENTICATING)
        assert connected == (self.exchange is not None)

    @invariant()
    def a_topic_has_one_request_in_flight_exactly_when_its_state_says_so(self) -> None:
        topics = self.session.topics
        for name, topic in topics.by_name.items():
            pending = [request for request in topics._requests._by_id.values() if name in request.topics]
            assert len(pending) == (topic.state in IN_FLIGHT)
            assert all(
                (request.op == "unsubscribe") == (topic.state is TopicState.UNSUBSCRIBING) for request in pending
            )


TestSession = SessionMachine.TestCase
TestSession.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
