"""Whatever comes in whatever order: nothing delivered is lost or repeated, and every gap is closed."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ingestor.bybit.heartbeat import NEVER
from ingestor.bybit.identity import Element
from ingestor.feed.backfill import ANSWER_WITHIN_S, BackfillRequest
from ingestor.feed.feed import OVERFLOW_OVER_AFTER_S, Output, Resubscribe
from tests.unit.ingestor.feed.kit import WALL_NS, Answer, Feeding

EXECUTION, WALLET = "execution", "wallet"
TOPICS = st.sampled_from([EXECUTION, WALLET])


class FeedMachine(RuleBasedStateMachine):
    """One topic that is backfilled and one that is not, of a session that is interrupted and resumes."""

    @initialize()
    def begin(self) -> None:
        self.feeding = Feeding("private")
        self.interrupted: set[str] = set()
        self.happened: dict[str, list[str]] = {EXECUTION: [], WALLET: []}  # at the exchange
        self.pushed: dict[str, list[str]] = {EXECUTION: [], WALLET: []}  # of these, what the connection brought
        self.requests: list[BackfillRequest] = []
        self.moments: dict[str, int] = {}

    # -- what the world does ---------------------------------------------------------------------------------

    @rule(topic=TOPICS)
    def something_happens(self, topic: str) -> None:
        name = self._happens(topic)
        if topic not in self.interrupted:
            self._push(topic, name)

    @rule(topic=TOPICS)
    def session_is_interrupted(self, topic: str) -> None:
        if topic not in self.interrupted:
            self.interrupted.add(topic)
            self._keep(self.feeding.feed.interrupted(topic, "reset", self.feeding.now, self.feeding.at))

    @rule(topic=TOPICS, with_push=st.booleans())
    def session_resumes(self, topic: str, with_push: bool) -> None:
        if topic in self.interrupted:
            self._resume(topic, with_push)

    @rule(topic=TOPICS)
    def outbox_drops(self, topic: str) -> None:
        oldest_s = WALL_NS // 10**9 + int(self.feeding.now)
        self._keep(self.feeding.feed.dropped(topic, oldest_s, self.feeding.at))

    @rule(which=st.integers(0, 10), healed=st.sampled_from(["yes", "no"]), repeat=st.booleans())
    def rest_answers(self, which: int, healed: str, repeat: bool) -> None:
        if self.requests:
            request = self.requests[which % len(self.requests)]
            if not repeat:
                self.requests.remove(request)
            self._answer(request, healed)

    @rule(seconds=st.floats(0.01, 4.0))
    def time_passes(self, seconds: float) -> None:
        self.feeding.now += seconds
        self._keep(self.feeding.feed.passed(self.feeding.at))

    # -- what always holds -----------------------------------------------------------------------------------

    @invariant()
    def nothing_delivered_is_lost_or_repeated(self) -> None:
        for topic in self.happened:
            live = self._names(topic, "live")
            assert live == self.pushed[topic][: len(live)], "in order, each once"
            known = self._names(topic, "live") + self._names(topic, "backfill")
            assert len(known) == len(set(known)), "delivered twice"
            if topic == WALLET:
                assert live == self.pushed[topic], "nothing is held back that is not backfilled"

    @invariant()
    def numbers_have_no_hole(self) -> None:
        for topic in self.happened:
            numbers = [int(event["sequence"]) for event in self.feeding.events(topic)]
            assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def gaps_open_and_close_in_turn(self) -> None:
        for topic in self.happened:
            states = [event["data"]["state"] for event in self._gaps(topic)]
            assert states[:1] in ([], ["open"])
            assert all(one != after for one, after in pairwise(states))
            if topic in self.interrupted:
                assert states[-1] == "open"

    @invariant()
    def nothing_is_due_in_the_past(self) -> None:
        assert self.feeding.feed.due_at() > self.feeding.now

    def teardown(self) -> None:
        """All is well again: every gap is closed, and what REST knew of was delivered."""
        for topic in sorted(self.interrupted):
            self._resume(topic, with_push=True)
        for _ in range(3):
            self.time_passes(ANSWER_WITHIN_S + OVERFLOW_OVER_AFTER_S)
            for topic in sorted(self.interrupted):
                self._resume(topic, with_push=False)
        self.session_is_interrupted(EXECUTION)
        self._resume(EXECUTION, with_push=False)
        self._answer(self.requests[-1], "yes")
        assert self.feeding.feed.due_at() == NEVER
        for topic in self.happened:
            assert [event["data"]["state"] for event in self._gaps(topic)][-1:] in ([], ["closed"])
            assert self._names(topic, "live") == self.pushed[topic]
        assert all(gap.closed_ns is not None and gap.healed is not None for gap in self.feeding.gaps.unwritten())
        assert set(self._names(EXECUTION, "live") + self._names(EXECUTION, "backfill")) == set(self.happened[EXECUTION])

    # -- steps -----------------------------------------------------------------------------------------------

    def _happens(self, topic: str) -> str:
        name = f"{topic}{len(self.happened[topic])}"
        self.happened[topic].append(name)
        self.moments[name] = self.feeding.at.exchange_ms
        return name

    def _push(self, topic: str, name: str) -> None:
        self.pushed[topic].append(name)
        self.feeding.deliver(topic, frame(name))

    def _resume(self, topic: str, with_push: bool) -> None:
        self.interrupted.discard(topic)
        name = self._happens(topic) if with_push else None
        following = frame(name) if name is not None else None
        self._keep(self.feeding.feed.resumed(topic, following, self.feeding.at))
        if name is not None:
            self._push(topic, name)

    def _answer(self, request: BackfillRequest, healed: str) -> None:
        found = [name for name in self.happened[EXECUTION] if self.moments[name] >= request.since_ms]
        elements = tuple(Element(name, self.moments[name], json.dumps(name).encode()) for name in found)
        answer = Answer(elements if healed == "yes" else elements[::2], healed)
        self._keep(self.feeding.feed.answered(request, answer, self.feeding.at))

    def _keep(self, outputs: list[Output]) -> None:
        self.feeding.keep(outputs)
        self.requests += [each for each in outputs if isinstance(each, BackfillRequest)]
        assert not any(isinstance(each, Resubscribe) for each in outputs), "there is no book"

    def _names(self, topic: str, origin: str) -> list[str]:
        events = [event["data"] for event in self.feeding.events(topic) if event["origin"] == origin]
        return [data["data"][0]["execId"] if origin == "live" else data for data in events]

    def _gaps(self, topic: str) -> list[dict[str, Any]]:
        return [event for event in self.feeding.events(topic) if event["type"] == "bybit.gap"]


def frame(name: str) -> bytes:
    return json.dumps({"topic": name, "data": [{"execId": name}]}).encode()


TestFeed = FeedMachine.TestCase
TestFeed.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
