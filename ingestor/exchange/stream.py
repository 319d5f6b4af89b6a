"""The thread of one socket: it performs what the session says, and has no opinion about Bybit."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from common.channels import Channel, of_topic
from common.envelope import Event
from common.errors import Unavailable
from ingestor.bybit.actions import (
    Action,
    Clock,
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
from ingestor.bybit.state import State, TopicState
from ingestor.delivery.line import Line
from ingestor.exchange.budget import Budget
from ingestor.exchange.clock import ExchangeClock
from ingestor.exchange.gaps import Gaps
from ingestor.exchange.transport import Lost, Transport, Unfit, open_transport, wait_readable
from ingestor.metrics import CONNECTS, FRAMES, RTT_SECONDS, SET_ASIDE, SOCKET_LIVE

log = structlog.get_logger(__name__)

_SAMPLE = 200
_LONGEST_WAIT_S = 1.0
_OFFER_AGAIN_S = 0.05

Command = Callable[[Session, float], Sequence[Action]]


class Out(Protocol):
    def put(self, events: Sequence[Event], private: bool) -> bool: ...


@dataclass(frozen=True, slots=True)
class TopicSeen:
    channel: Channel
    state: str  # pending, live or rejected
    reason: str | None
    acked_at: datetime | None
    last_event_at: datetime | None
    events: int


@dataclass(frozen=True, slots=True)
class SocketSeen:
    endpoint: str
    number: int
    state: State
    since: datetime
    attempts: int
    last_error: str | None
    rtt_ms: float | None
    last_heartbeat_at: datetime | None
    topics: tuple[TopicSeen, ...] = ()


@dataclass(slots=True)
class Count:
    """What flowed on one topic."""

    events: int = 0
    last_ns: int | None = None
    acked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every stream uses."""

    out: Out
    line_of: Callable[[Channel], Line]
    gaps: Gaps
    budget: Budget
    clock: ExchangeClock
    changed: Callable[[], None]  # somebody should look at `seen`
    subscribed: Callable[[Channel], None]  # a topic is held from now on


class Stream:
    """One socket over all of its connections."""

    def __init__(self, number: int, url: str, session: Session, around: Surroundings) -> None:
        self.name = f"stream {session.endpoint}/{number}"
        self.endpoint = session.endpoint
        self.number = number
        self._url = url
        self._session = session
        self._around = around
        self._transport: Transport | None = None
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._burst: list[Event] = []
        self._counts: dict[str, Count] = {}
        self._seen_at = 0.0
        self._stopping = False
        self._frames = FRAMES.labels(self.endpoint)
        self._frames_set_aside = SET_ASIDE.labels(self.endpoint)
        self._log = log.bind(endpoint=self.endpoint, socket_no=number)
        self.seen = SocketSeen(self.endpoint, number, session.state, _now(), 0, None, None, None)

    # -- from other threads ---------------------------------------------------------------------------------

    def ask(self, command: Command) -> None:
        self._commands.put(command)
        os.eventfd_write(self._waker, 1)

    def want(self, channels: Sequence[Channel]) -> None:
        self.ask(lambda session, now: session.want(channels, now, self._around.gaps.missed(channels)))

    # -- the thread -----------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._step(stop)
        self._hang_up()
        os.close(self._waker)

    def _step(self, stop: threading.Event) -> None:
        now = time.monotonic()
        self._perform(self._session.passed(now), stop)
        for command in self._drained():
            self._perform(command(self._session, time.monotonic()), stop)
        self._flush(stop)
        self._look(now)
        wait_s = min(_LONGEST_WAIT_S, self._session.due_at() - time.monotonic())
        if wait_readable(self._transport, self._waker, wait_s):
            self._receive(stop)

    def _receive(self, stop: threading.Event) -> None:
        transport = self._transport
        if transport is None:
            return
        try:
            arrived = transport.receive()
        except Lost as lost:
            self._lose(str(lost), stop)
            return
        received_ns, now = time.time_ns(), time.monotonic()
        for frame in arrived:
            if isinstance(frame, Unfit):
                self._set_aside(frame.sample, frame.reason)
            else:
                self._perform(self._session.received(frame, now), stop, received_ns)
            if self._transport is not transport:  # the session left this connection; the rest belongs to it
                break
        self._flush(stop)

    def _perform(self, actions: Sequence[Action], stop: threading.Event, received_ns: int = 0) -> None:
        for number, action in enumerate(actions, 1):
            match action:
                case Deliver():
                    self._deliver(action, received_ns)
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

    # -- the connection -------------------------------------------------------------------------------------

    def _connect(self, stop: threading.Event) -> None:
        self._flush(stop)  # what is known to be missed is told before we are busy
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
        self._hang_up()
        self._perform(self._session.lost(reason, time.monotonic()), stop)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # -- what comes in --------------------------------------------------------------------------------------

    def _deliver(self, data: Deliver, received_ns: int) -> None:
        line = self._around.line_of(self._session.topics.by_name[data.topic].channel)
        self._burst.append(line.live(data.frame, data.time_ms, received_ns))
        count = self._count(data.topic)
        count.events += 1
        count.last_ns = received_ns

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

    def _interrupted(self, told: Interrupted) -> None:
        since_ns = time.time_ns() - int((time.monotonic() - told.since) * 1e9)
        event = self._around.gaps.opened(self._line(told.topic), told.cause, since_ns, time.time_ns())
        if event is not None:
            self._burst.append(event)

    def _resumed(self, told: Resumed, following: Sequence[Action]) -> None:
        line = self._line(told.topic)
        first = next((line.id_of(each.frame) for each in following if isinstance(each, Deliver)), None)
        event = self._around.gaps.closed(line, first, time.time_ns())
        if event is not None:
            self._burst.append(event)

    def _line(self, topic: str) -> Line:
        return self._around.line_of(of_topic(self.endpoint, topic))

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
        self._look(time.monotonic(), at_once=True)

    def _marked(self, marked: Marked) -> None:
        if marked.state is TopicState.HELD:
            self._count(marked.topic).acked_at = _now()
            self._around.subscribed(self._session.topics.by_name[marked.topic].channel)
        rejected = marked.state is TopicState.REJECTED
        tell = self._log.warning if rejected or marked.reason else self._log.info
        tell("topic " + ("rejected" if rejected else "subscribed"), topic=marked.topic, reason=marked.reason or None)
        self._look(time.monotonic(), at_once=True)

    def _told_time(self, clock: Clock) -> None:
        RTT_SECONDS.labels(self.endpoint).observe(clock.rtt_s)
        self.seen = replace(self.seen, rtt_ms=round(clock.rtt_s * 1000, 3))
        if clock.exchange_ms is not None:
            self._around.clock.told(clock.exchange_ms, clock.rtt_s)

    def _look(self, now: float, at_once: bool = False) -> None:
        """Once a second, and at each change: write down how things are, for other threads to read."""
        if not at_once and now - self._seen_at < 1.0:
            return
        self._seen_at = now
        topics = tuple(self._topic_seen(name) for name, topic in self._session.topics.by_name.items() if topic.wanted)
        self._counts = {name: count for name, count in self._counts.items() if name in self._session.topics.by_name}
        heard_at = self.seen.last_heartbeat_at
        if self._session.state is State.LIVE:
            heard_at = datetime.fromtimestamp(time.time() - (time.monotonic() - self._session.heard_at), UTC)
        self.seen = replace(self.seen, attempts=self._session.failures, topics=topics, last_heartbeat_at=heard_at)
        if at_once:
            self._around.changed()

    def _topic_seen(self, name: str) -> TopicSeen:
        topic, count = self._session.topics.by_name[name], self._count(name)
        live = topic.live and self._session.state is State.LIVE
        state = "rejected" if topic.state is TopicState.REJECTED else "live" if live else "pending"
        last_at = datetime.fromtimestamp(count.last_ns / 1e9, UTC) if count.last_ns else None
        reason = topic.reason or (None if live else self._why_pending())
        return TopicSeen(topic.channel, state, reason, count.acked_at, last_at, count.events)

    def _why_pending(self) -> str:
        if self._session.state is State.LIVE:
            return "waiting for the exchange's answer"
        return f"the {self.endpoint} socket is {self._session.state}: {self._session.reason}"

    def _count(self, topic: str) -> Count:
        count = self._counts.get(topic)
        return count if count is not None else self._counts.setdefault(topic, Count())

    # -- waiting --------------------------------------------------------------------------------------------

    def _drained(self) -> list[Command]:
        commands: list[Command] = []
        try:
            os.eventfd_read(self._waker)
        except BlockingIOError:
            return commands
        try:
            while True:
                commands.append(self._commands.get_nowait())
        except Empty:
            return commands


def _now() -> datetime:
    return datetime.now(UTC)
