"""The thread of one socket: it performs what the session says, and has no opinion about Bybit."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from common.channels import Channel, of_topic
from common.errors import Unavailable
from common.events import Event
from common.settings import Credentials
from ingestor.bybit.actions import (
    Action,
    Clock,
    ClockDoubted,
    Close,
    Connect,
    Deliver,
    Entered,
    Interrupted,
    Marked,
    Resumed,
    Send,
    SetAside,
)
from ingestor.bybit.session import Session
from ingestor.bybit.states import State, TopicState
from ingestor.bybit.subscriptions import TopicSubscription
from ingestor.feed.backfill import Backfill, HeldPush, backfill_of
from ingestor.feed.event_stream import EventStream
from ingestor.feed.gaps import Gaps
from ingestor.metrics import CONNECTS, FRAMES, RTT_SECONDS, SET_ASIDE, SOCKET_LIVE
from ingestor.rest.client import RestHistory
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.backfill import BackfillRequest
from ingestor.sockets.connect_budget import ConnectBudget
from ingestor.sockets.rotation import DONE_WITHIN_S, Rotation, StreamMerge
from ingestor.sockets.transport import Lost, Readiness, Transport, Unfit, open_transport

log = structlog.get_logger(__name__)

_SAMPLE = 200
_LONGEST_WAIT_S = 1.0
_OFFER_AGAIN_S = 0.05
_LOOKS_APART_S = 0.1  # a look takes 1 ms for a thousand topics, and each answer of the exchange is a reason
_READS_APART_S = 0.2e-6  # per frame and second: 0.6 ms at 3,000/s. A wake-up costs as much as several frames
_MOST_APART_S = 0.004
OLDEST_S = 12 * 3600.0  # Bybit itself ends a connection after some hours
ROTATED_AGAIN_AFTER_S = 300.0  # when it did not work
_FAILURE = "internal error"

Command = Callable[[Session, float], Sequence[Action]]


class Out(Protocol):
    def put(self, events: Sequence[Event], private: bool) -> bool: ...


@dataclass(frozen=True, slots=True)
class ObservedTopic:
    channel: Channel
    state: str  # pending, live or rejected
    reason: str | None
    acked_at: datetime | None
    last_event_at: datetime | None
    events: int


@dataclass(frozen=True, slots=True)
class ObservedConnection:
    endpoint: str
    number: int
    state: State
    since: datetime
    attempts: int
    last_error: str | None
    rtt_ms: float | None
    last_heartbeat_at: datetime | None
    topics: tuple[ObservedTopic, ...] = ()


@dataclass(slots=True)
class TopicCounters:
    """What flowed on one topic."""

    events: int = 0
    last_ns: int | None = None
    last: bytes | None = None
    acked_at: datetime | None = None
    healing: Backfill | None = None

    @property
    def due_at(self) -> float:
        return self.healing.until if self.healing is not None else float("inf")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every stream uses."""

    out: Out
    stream_of: Callable[[Channel], EventStream]
    gaps: Gaps
    budget: ConnectBudget
    clock: ExchangeClock
    changed: Callable[[], None]  # somebody should look at `seen`
    went_live: Callable[[], None]  # an endpoint did: from now on it can miss something, which a next life has to know
    subscribed: Callable[[Channel], None]  # a topic is held from now on
    ask_past: Callable[[BackfillRequest], None]
    clock_doubted: Callable[[], None]


class SocketWorker:
    """One socket over all of its connections."""

    def __init__(
        self,
        number: int,
        url: str,
        open_session: Callable[[], Session],
        around: Surroundings,
        oldest_s: float = OLDEST_S,
    ) -> None:
        self._session = session = open_session()
        self.name = f"stream {session.endpoint}/{number}"
        self.endpoint = session.endpoint
        self.number = number
        self._url = url
        self._open_session = open_session
        self._around = around
        self._oldest_s = oldest_s
        self._rotation: Rotation | None = None
        self._rotate_at = 0.0  # not earlier
        self._outdated = False  # its credentials are not the present ones
        self._union: StreamMerge | None = None  # of the last two connections, until the second brings only news
        self._transport: Transport | None = None
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._readiness = Readiness(self._waker)
        self._due_at = 0.0  # what time brings is looked at by then
        self._read_at = self._read_from = 0.0
        self._burst: list[Event] = []
        self._counts: dict[str, TopicCounters] = {}
        self._asking: set[str] = set()  # topics whose past is being asked for
        self._topics_seen: dict[str, tuple[object, ObservedTopic]] = {}  # with what each was made of
        self._seen_at = 0.0
        self._news = False  # `seen` is not true any more
        self._stopping = False
        self._frames = FRAMES.labels(self.endpoint)
        self._frames_set_aside = SET_ASIDE.labels(self.endpoint)
        self._log = log.bind(endpoint=self.endpoint, socket_no=number)
        self.seen = ObservedConnection(self.endpoint, number, session.state, _now(), 0, None, None, None)

    # -- from other threads ---------------------------------------------------------------------------------

    def ask(self, command: Command) -> None:
        self._commands.put(command)
        self._wake()

    def want(self, channels: Sequence[Channel]) -> None:
        self.ask(lambda session, now: self._want(session, channels, now))

    def renew(self, credentials: Credentials | None) -> None:
        self.ask(lambda session, _now: self._renew(session, credentials))

    def tell(self, channel: Channel, make: Callable[[EventStream], Event]) -> None:
        """Publish one more event in the stream of this topic."""
        self.ask(lambda _session, _now: self._tell(channel, make))

    # -- the thread -----------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            whole_until = self._session.heard_at
            try:
                self._step(stop)
            except Exception:
                self._begin_anew(whole_until, stop)
                raise
        for topic in list(self._asking):
            self._give_up(topic)
        self._flush(stop)
        self._hang_up()
        self._abandon("stopping")
        os.close(self._waker)

    def _step(self, stop: threading.Event) -> None:
        now = time.monotonic()
        if now >= self._due_at:
            self._take_turn(now, stop)
            now = time.monotonic()
        second = self._rotation.transport if self._rotation is not None else None
        open_ones = [transport for transport in (self._transport, second) if transport is not None]
        ready = self._readiness.wait(open_ones, self._due_at - now)
        if self._readiness.woken:
            self._obey(stop)
        if self._transport in ready:
            self._receive(stop)
        if second in ready and self._rotation is not None:
            self._rotation.receive(time.monotonic(), time.time_ns())
        if self._rotation is not None:
            self._due_at = 0.0

    def _take_turn(self, now: float, stop: threading.Event) -> None:
        """Everything that is not the reading of frames."""
        self._perform(self._session.passed(now), stop)
        for topic in [topic for topic in self._asking if self._counts[topic].due_at <= now]:
            self._give_up(topic)
        self._rotate(now)
        self._flush(stop)
        self._look(now)
        asking = (self._counts[topic].due_at for topic in self._asking)
        look_at = self._seen_at + _LOOKS_APART_S if self._news else now + _LONGEST_WAIT_S
        self._due_at = min([look_at, now + _LONGEST_WAIT_S, self._session.due_at(), *asking])

    def _obey(self, stop: threading.Event) -> None:
        os.eventfd_read(self._waker)
        with suppress(Empty):
            while True:
                command = self._commands.get_nowait()
                self._perform(command(self._session, time.monotonic()), stop)
        self._due_at = 0.0

    def _receive(self, stop: threading.Event) -> None:
        transport = self._transport
        if transport is None:
            return
        if (early_s := self._read_from - time.monotonic()) > 0:
            stop.wait(early_s)
        try:
            arrived = transport.receive()
        except Lost as lost:
            self._lose(str(lost), stop)
            return
        received_ns, now = time.time_ns(), time.monotonic()
        self._pace(len(arrived), now)
        for frame in arrived:
            if isinstance(frame, Unfit):
                self._set_aside(frame.sample, frame.reason)
            else:
                self._perform(self._session.received(frame, now), stop, received_ns)
            if self._transport is not transport:  # the session left this connection; the rest belongs to it
                break
        self._flush(stop)

    def _pace(self, frames: int, now: float) -> None:
        """When to read next: the busier the socket, the more each read brings; what comes alone never waits."""
        rate = frames / max(1e-6, now - self._read_at)
        self._read_at = now
        if self.endpoint != "private":
            self._read_from = now + min(_MOST_APART_S, rate * _READS_APART_S)

    def _perform(self, actions: Sequence[Action], stop: threading.Event, received_ns: int = 0) -> None:
        for number, action in enumerate(actions, 1):
            if type(action) is Deliver:
                self._brought(action, received_ns)
                continue
            self._due_at = 0.0  # this may have changed what is due
            match action:
                case Send():
                    self._send(action.text, stop)
                case Connect():
                    self._connect(stop)
                case Close():
                    self._log.info("leaving the connection", reason=action.reason)
                    self._hang_up()
                case SetAside():
                    self._set_aside(action.frame, action.reason)
                case Entered():
                    self._entered(action)
                case Marked():
                    self._marked(action)
                case Interrupted():
                    self._interrupted(action)
                case Resumed():
                    self._resumed(action, actions[number:])
                case Clock():
                    self._told_time(action)
                case ClockDoubted():
                    self._around.clock_doubted()

    # -- the connection -------------------------------------------------------------------------------------

    def _connect(self, stop: threading.Event) -> None:
        self._flush(stop)  # what is known to be missed is told before we are busy
        self._look_now(time.monotonic())
        if not self._allowed(stop):
            return
        CONNECTS.labels(self.endpoint).inc()
        try:
            self._transport = open_transport(self._url)
        except Lost as lost:
            self._perform(self._session.lost(str(lost), time.monotonic(), lost.wait_s), stop)
            return
        self._perform(self._session.opened(time.monotonic(), self._around.clock.now_ms()), stop)

    def _allowed(self, stop: threading.Event) -> bool:
        told = False
        while not stop.is_set():
            wait_s = self._around.budget.wait_s(self.endpoint == "private", time.monotonic())
            if not wait_s:
                return True
            if not told:
                self._log.warning("waiting for a place in the budget of connects", wait_s=round(wait_s, 1))
                told = True
            stop.wait(min(wait_s, _LONGEST_WAIT_S))
        return False

    def _send(self, text: str, stop: threading.Event) -> None:
        if self._transport is None:
            return
        try:
            self._transport.send(text)
        except Unavailable as lost:
            self._lose(str(lost), stop)

    def _lose(self, reason: str, stop: threading.Event) -> None:
        if self._rotation is not None and self._rotation.covers(self._session.topics.held, self._session.heard_at, 0.0):
            self._replace(reason)
            return
        self._hang_up()
        self._perform(self._session.lost(reason, time.monotonic()), stop)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _begin_anew(self, whole_until: float, stop: threading.Event) -> None:
        """After a failure nobody foresaw: a new session for the same topics, which may have missed something since.

        The old one is asked for nothing but its topics, because it may be what failed. The new one waits to connect.
        """
        topics = [topic for topic in self._session.topics.by_name.values() if topic.wanted]
        interrupted = [t.channel.topic for t in topics if t.ever_held and t.state is not TopicState.REJECTED]
        missed = {*interrupted, *(topic.channel.topic for topic in topics if topic.missing)}
        self._hang_up()
        self._session, now = self._open_session(), time.monotonic()
        self._session.want([topic.channel for topic in topics], now, missed)
        for name in interrupted:
            self._interrupted(Interrupted(name, _FAILURE, whole_until))
        for name in list(self._asking):
            self._give_up(name)
        self._abandon(_FAILURE)
        self._perform(self._session.lost(_FAILURE, now), stop)
        self._flush(stop)
        self._look(now)

    # -- make before break ----------------------------------------------------------------------------------

    def _rotate(self, now: float) -> None:
        """Replace the connection when it is time; while something is missing or asked for, there is other work."""
        if now >= self._session.opened_at + DONE_WITHIN_S:
            self._union = None  # the topics that are still in it are quiet ones
        if self._rotation is None:
            due = self._outdated or now >= self._session.opened_at + self._oldest_s
            whole = self._session.state is State.LIVE and self._session.topics.whole and not self._asking
            if due and whole and now >= self._rotate_at and self._union is None:
                self._begin_rotation(now)
            return
        self._rotation.step(now, self._around.clock.now_ms())
        if self._rotation.failed is not None:
            self._abandon(self._rotation.failed)
        elif self._rotation.covers(self._session.topics.held, now):
            self._replace("new credentials" if self._outdated else "its age")

    def _begin_rotation(self, now: float) -> None:
        if wait_s := self._around.budget.wait_s(self.endpoint == "private", now):
            self._rotate_at = now + wait_s
            return
        CONNECTS.labels(self.endpoint).inc()
        wanted = [topic.channel for topic in self._session.topics.by_name.values() if topic.wanted]
        union = StreamMerge()
        for channel in wanted:
            union.begin(channel, self._count(channel.topic).last)
        self._rotation = Rotation(
            self._open_session(), union, partial(open_transport, self._url), self._wake, now + DONE_WITHIN_S
        )
        self._rotation.want(wanted, now)

    def _replace(self, reason: str) -> None:
        rotation, self._rotation = self._rotation, None
        if rotation is None:
            return
        self._hang_up()
        self._session, self._transport, self._union = rotation.session, rotation.transport, rotation.union
        self._outdated = False
        for push in rotation.union.switch():
            self._deliver(push.data, push.received_ns)
        self._log.info("connection replaced by its successor", reason=reason)
        self.seen = replace(self.seen, since=_now())
        self._news = True

    def _abandon(self, reason: str) -> None:
        """The successor is not needed any more, or no good: nothing depended on it yet."""
        rotation, self._rotation = self._rotation, None
        if rotation is not None:
            rotation.end()
            self._rotate_at = time.monotonic() + ROTATED_AGAIN_AFTER_S
            self._log.warning("the connection could not be replaced", reason=reason)

    def _want(self, session: Session, channels: Sequence[Channel], now: float) -> Sequence[Action]:
        if self._rotation is not None:
            for channel in channels:
                self._rotation.union.begin(channel, None)
            self._rotation.want(channels, now)
        return session.want(channels, now, self._around.gaps.missed(channels))

    def _renew(self, session: Session, credentials: Credentials | None) -> Sequence[Action]:
        if session.state is State.LIVE and credentials is not None and credentials != session.credentials:
            self._outdated, self._rotate_at = True, 0.0
        return session.renew(credentials)

    # -- what comes in --------------------------------------------------------------------------------------

    def _brought(self, data: Deliver, received_ns: int) -> None:
        """A push of the first connection."""
        if self._rotation is None and self._union is None:
            self._deliver(data, received_ns)
            return
        channel, push = self._session.topics.by_name[data.topic].channel, HeldPush(data, received_ns)
        if self._rotation is not None:
            self._rotation.union.leader(channel, push)
            self._deliver(data, received_ns)
        elif self._union is not None:
            for told in self._union.after(channel, push):
                self._deliver(told.data, told.received_ns)
            if self._union.over:
                self._union = None

    def _deliver(self, data: Deliver, received_ns: int) -> None:
        count = self._count(data.topic)
        count.events += 1
        count.last_ns = received_ns
        count.last = data.frame
        if count.healing is not None:
            if count.healing.holds:
                count.healing.held.append(HeldPush(data, received_ns))
                return
            count.healing.pushed(data.frame)
        line = self._line(data.topic)
        self._burst.append(line.live(data.frame, data.time_ms, received_ns))

    def _flush(self, stop: threading.Event) -> None:
        """Hand over what was read in one go; while nobody can take it, nothing more is read."""
        if not self._burst:
            return
        burst, self._burst = self._burst, []
        self._frames.inc(len(burst))
        told = False
        while not self._around.out.put(burst, self.endpoint == "private"):
            if not told:
                self._log.error("nothing takes the events; not reading on", waiting=len(burst))
                told = True
            if stop.wait(_OFFER_AGAIN_S):
                self._log.critical("leaving with events that nobody took", lost=len(burst))
                return

    def _set_aside(self, frame: bytes, reason: str) -> None:
        self._frames_set_aside.inc()
        self._log.warning("frame set aside", reason=reason, sample=repr(frame[:_SAMPLE]))

    def _tell(self, channel: Channel, make: Callable[[EventStream], Event]) -> Sequence[Action]:
        self._burst.append(make(self._around.stream_of(channel)))
        return ()

    def _interrupted(self, told: Interrupted) -> None:
        self._abandon(f"{told.topic} is missing something")
        self._union = None
        self._give_up(told.topic)
        since_ns = time.time_ns() - int((time.monotonic() - told.since) * 1e9)
        event = self._around.gaps.opened(self._line(told.topic), told.cause, since_ns, time.time_ns())
        if event is not None:
            self._burst.append(event)

    def _resumed(self, told: Resumed, following: Sequence[Action]) -> None:
        line = self._line(told.topic)
        healing = self._count(told.topic).healing if told.topic in self._session.topics.by_name else None
        if healing is not None and self._ask_past(healing) and healing.holds:
            return  # it is closed when the past is told
        first = next((line.id_of(each.frame) for each in following if isinstance(each, Deliver)), None)
        self._close_gap(line, first, None if healing is not None else "no")

    def _close_gap(self, line: EventStream, first_id: str | None, healed: str | None) -> None:
        event = self._around.gaps.closed(line, first_id, time.time_ns(), healed)
        if event is not None:
            self._burst.append(event)

    # -- the past -------------------------------------------------------------------------------------------

    def _ask_past(self, healing: Backfill) -> bool:
        """False when there is no window to heal."""
        channel, clock = healing.channel, self._around.clock
        window_ns = self._around.gaps.since_ns(channel)
        if window_ns is None:
            return False
        now_ms = clock.now_ms()
        from_ms = now_ms - (time.time_ns() - window_ns) // 1_000_000
        since_ms = healing.begin(window_ns, from_ms, now_ms, time.monotonic())
        self._asking.add(channel.topic)
        answer = partial(self._told_past, channel.topic, healing.number)
        question = BackfillRequest(
            channel, since_ms, now_ms, healing.until, lambda past: self.ask(partial(answer, past))
        )
        self._around.ask_past(question)
        return True

    def _give_up(self, topic: str) -> None:
        """What is asked for comes too late, if it comes."""
        if topic in self._asking:
            self._told_past(topic, None, RestHistory(failures=["no answer in time"]))

    def _told_past(self, topic: str, number: int | None, past: RestHistory, *_: object) -> Sequence[Action]:
        healing = self._counts[topic].healing if topic in self._asking else None
        if healing is None or number not in (None, healing.number):
            return ()
        line = self._line(topic)
        missing = healing.missing(past.elements)
        self._burst += [line.backfill(each.key, each.data, each.time_ms, time.time_ns()) for each in missing]
        held_back, window_ns = healing.holds, healing.window_ns
        self._asking.discard(topic)
        held = healing.end(healed=past.healed != "no")
        if held_back:
            self._close_gap(line, line.id_of(held[0].data.frame) if held else None, past.healed)
        else:
            self._around.gaps.healed(healing.channel, window_ns, past.healed)
        for each in held:
            healing.pushed(each.data.frame)
            self._burst.append(line.live(each.data.frame, each.data.time_ms, each.received_ns))
        failures = "; ".join(past.failures)[:_SAMPLE] or None
        self._log.info("past told", topic=topic, healed=past.healed, events=len(missing), failures=failures)
        return ()

    def _line(self, topic: str) -> EventStream:
        known = self._session.topics.by_name.get(topic)
        return self._around.stream_of(known.channel if known is not None else of_topic(self.endpoint, topic))

    # -- what is told ---------------------------------------------------------------------------------------

    def _entered(self, entered: Entered) -> None:
        state, reason = entered.state, entered.reason
        sick = state in (State.BACKOFF, State.PARKED)
        retry_in_s = round(self._session.due_at() - time.monotonic(), 1) if sick else None
        more = {"retry_in_s": max(0.0, retry_in_s)} if retry_in_s is not None else {}
        (self._log.warning if sick else self._log.info)("socket state", state=str(state), reason=reason, **more)
        SOCKET_LIVE.labels(self.endpoint, self.number).set(state is State.LIVE)
        error = reason if sick else self.seen.last_error
        self.seen = replace(self.seen, state=state, since=_now(), last_error=error)
        self._news = True
        if state is State.LIVE:
            self.seen = replace(self.seen, last_heartbeat_at=_now())
            self._around.went_live()

    def _marked(self, marked: Marked) -> None:
        if marked.state is TopicState.HELD:
            self._count(marked.topic).acked_at = _now()
            self._around.subscribed(self._session.topics.by_name[marked.topic].channel)
        rejected = marked.state is TopicState.REJECTED
        tell = self._log.warning if rejected or marked.reason else self._log.info
        tell("topic " + ("rejected" if rejected else "subscribed"), topic=marked.topic, reason=marked.reason or None)
        self._news = True

    def _told_time(self, clock: Clock) -> None:
        RTT_SECONDS.labels(self.endpoint).observe(clock.rtt_s)
        self.seen = replace(self.seen, rtt_ms=round(clock.rtt_s * 1000, 3))
        if clock.exchange_ms is not None:
            self._around.clock.told(clock.exchange_ms, clock.rtt_s)

    def _look(self, now: float) -> None:
        """Once a second, and soon after changes, however many."""
        if now - self._seen_at >= (_LOOKS_APART_S if self._news else _LONGEST_WAIT_S):
            self._look_now(now)

    def _look_now(self, now: float) -> None:
        """Write down how things are, for other threads to read; what is as before is the same object."""
        self._seen_at, news, self._news = now, self._news, False
        by_name = self._session.topics.by_name
        live = self._session.state is State.LIVE
        pending = self._why_pending()
        self._topics_seen = {
            n: self._topic_seen(n, topic, live, pending) for n, topic in by_name.items() if topic.wanted
        }
        topics = tuple(seen for _, seen in self._topics_seen.values())
        kept = by_name.keys() | self._asking
        self._counts = {name: count for name, count in self._counts.items() if name in kept}
        heard_at = self.seen.last_heartbeat_at
        if live:
            heard_at = datetime.fromtimestamp(time.time() - (time.monotonic() - self._session.heard_at), UTC)
        self.seen = replace(self.seen, attempts=self._session.failures, topics=topics, last_heartbeat_at=heard_at)
        if news:
            self._around.changed()

    def _topic_seen(
        self, name: str, topic: TopicSubscription, live: bool, pending: str
    ) -> tuple[object, ObservedTopic]:
        count = self._count(name)
        live = live and topic.live
        made_of = (topic.state, live, topic.reason, count.events, count.acked_at, live or pending)
        before = self._topics_seen.get(name)
        if before is not None and before[0] == made_of:
            return before
        state = "rejected" if topic.state is TopicState.REJECTED else "live" if live else "pending"
        last_at = datetime.fromtimestamp(count.last_ns / 1e9, UTC) if count.last_ns else None
        reason = topic.reason or (None if live else pending)
        return made_of, ObservedTopic(topic.channel, state, reason, count.acked_at, last_at, count.events)

    def _why_pending(self) -> str:
        if self._session.state is State.LIVE:
            return "waiting for the exchange's answer"
        return f"the {self.endpoint} socket is {self._session.state}: {self._session.reason}"

    def _count(self, topic: str) -> TopicCounters:
        count = self._counts.get(topic)
        if count is None:
            count = self._counts[topic] = TopicCounters(healing=backfill_of(of_topic(self.endpoint, topic)))
        return count

    def _wake(self) -> None:
        with suppress(OSError):  # the stream has ended
            os.eventfd_write(self._waker, 1)


def _now() -> datetime:
    return datetime.now(UTC)
