"""Carries out the actions of the session and the outputs of the feed of one connection."""

import threading
from collections.abc import Callable, Iterable, Sequence

import structlog

from common.errors import Unavailable
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
from ingestor.feed.backfill import BackfillRequest, History
from ingestor.feed.feed import BackfillFinished, Feed, Output, Resubscribe
from ingestor.metrics import CONNECTS, RTT_SECONDS, SET_ASIDE
from ingestor.sockets.burst import Burst
from ingestor.sockets.interfaces import Connection, Surroundings
from ingestor.sockets.recorder import Recorder
from ingestor.sockets.rotation import Rotation
from ingestor.sockets.transport import Lost

log = structlog.get_logger(__name__)

_SAMPLE = 200
_MAX_WAIT_S = 1.0
_FAILURE = "internal error"


class Performer:
    """The session and the feed of one worker, and the connection that the session has at present."""

    def __init__(
        self,
        session: Session,
        feed: Feed,
        rotation: Rotation,
        recorder: Recorder,
        connect: Callable[[], Connection],
        answered: Callable[[BackfillRequest, History], None],
        around: Surroundings,
    ) -> None:
        self.session = session
        self.feed = feed
        self.rotation = rotation
        self.recorder = recorder
        self.burst = Burst(around.outbox, session.endpoint)
        self.connection: Connection | None = None
        self.due = True  # something happened that may change what is due
        self.stop = threading.Event()
        self._private = session.endpoint == "private"
        self._open = connect
        self._answered = answered
        self._around = around
        self._clocks = around.clocks
        self._set_aside = SET_ASIDE.labels(session.endpoint)
        self._log = log.bind(endpoint=session.endpoint, socket_no=recorder.observed.number)

    # -- the session's actions ------------------------------------------------------------------------------

    def perform(self, actions: Sequence[Action], received_ns: int = 0) -> None:
        """Carry these out, in order; `received_ns` is when the frame that they follow from was read."""
        session = self.session
        for number, action in enumerate(actions, 1):
            if type(action) is Deliver:
                self.burst.add(self.feed.delivered(action, received_ns))
                continue
            self.due = True
            match action:
                case Send(text):
                    self._send(text)
                case Connect():
                    self._connect()
                case Close(reason):
                    self._log.info("connection closed", reason=reason)
                    self.hang_up()
                case SetAside(frame, reason):
                    self.set_aside(frame, reason)
                case Entered():
                    self._entered(action)
                case Marked():
                    self._marked(action)
                case Interrupted():
                    self._interrupted(action)
                case Resumed(topic):
                    self._resumed(topic, actions[number:])
                case Clock():
                    self._clock(action)
                case ClockDoubted():
                    self._around.clock_doubted()
            if self.session is not session:  # the connection was replaced: the rest concerns the former one
                return

    def set_aside(self, frame: bytes, reason: str) -> None:
        """A frame that cannot be an event."""
        self._set_aside.inc()
        self._log.warning("frame set aside", reason=reason, sample=repr(frame[:_SAMPLE]))

    def _entered(self, entered: Entered) -> None:
        self.recorder.entered(entered, self.session.due_at(), self._clocks.now())
        if entered.state is State.LIVE:
            self._around.live()

    def _marked(self, marked: Marked) -> None:
        self.recorder.marked(marked, self._clocks.now())
        topic = self.session.topics.by_name.get(marked.topic)  # a send that failed meanwhile ends unsubscribed ones
        if marked.state is TopicState.SUBSCRIBED and topic is not None:
            self._around.subscribed(topic.channel)

    def _clock(self, clock: Clock) -> None:
        RTT_SECONDS.labels(self.session.endpoint).observe(clock.rtt_s)
        self.recorder.measured(clock.rtt_s)
        if clock.exchange_ms is not None:
            self._clocks.observe(clock.exchange_ms, clock.rtt_s)

    def _interrupted(self, action: Interrupted) -> None:
        at = self._clocks.now()
        self.rotation.abandon(f"{action.topic} is interrupted", at.monotonic_s)
        self.carry_out(self.feed.interrupted(action.topic, action.cause, action.since, at))

    def _resumed(self, topic: str, following: Sequence[Action]) -> None:
        next_frame = next((each.frame for each in following if isinstance(each, Deliver)), None)
        subscribed = topic in self.session.topics.by_name
        self.carry_out(self.feed.resumed(topic, next_frame, self._clocks.now(), subscribed=subscribed))

    # -- the feed's outputs ---------------------------------------------------------------------------------

    def carry_out(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            match output:
                case BackfillRequest():
                    self._around.request_backfill(output, self._answer_to(output))
                case BackfillFinished(topic, healed, events, failures):
                    reasons = "; ".join(failures)[:_SAMPLE] or None
                    self._log.info("backfill finished", topic=topic, healed=healed, events=events, failures=reasons)
                case Resubscribe(topic):
                    self._resubscribe(topic)
                case _:
                    self.burst.add((output,))

    def _resubscribe(self, topic: str) -> None:
        at = self._clocks.now()
        if topic in self.session.topics.by_name:
            self.perform(self.session.resubscribe([topic], at.monotonic_s))
        else:  # unsubscribed meanwhile: the session will not report that it resumes
            self.carry_out(self.feed.resumed(topic, None, at, subscribed=False))

    def _answer_to(self, request: BackfillRequest) -> Callable[[History], None]:
        return lambda history: self._answered(request, history)

    # -- the connection -------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.burst.flush(self.stop)  # gaps are published before this thread is busy
        self.record()
        if not self._within_budget():
            return
        CONNECTS.labels(self.session.endpoint).inc()
        try:
            self.connection = self._open()
        except Lost as lost:
            self.perform(self.session.lost(str(lost), self._clocks.monotonic_s(), lost.wait_s))
            return
        at = self._clocks.now()
        self.perform(self.session.opened(at.monotonic_s, at.exchange_ms))

    def _within_budget(self) -> bool:
        """False when the process stops before we may connect."""
        logged = False
        while not self.stop.is_set():
            wait_s = self._around.budget.wait_s(private=self._private, now=self._clocks.monotonic_s())
            if not wait_s:
                return True
            if not logged:
                self._log.warning("connect budget exhausted", wait_s=round(wait_s, 1))
                logged = True
            self.stop.wait(min(wait_s, _MAX_WAIT_S))
        return False

    def _send(self, text: str) -> None:
        if self.connection is None:
            return
        try:
            self.connection.send(text)
        except Unavailable as lost:
            self.lose(str(lost))

    def lose(self, reason: str) -> None:
        """The connection is gone: its replacement takes over where there is one, or the session makes another."""
        if self.rotation.can_take_over(self.session):
            self.switch(reason)
            return
        self.hang_up()
        self.perform(self.session.lost(reason, self._clocks.monotonic_s()))

    def hang_up(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def switch(self, reason: str) -> None:
        """The replacement is the connection from now on."""
        replacement = self.rotation.take_over()
        if replacement is None:
            return
        acknowledged = set(self.session.topics.held)
        self.hang_up()
        self.session, self.connection = replacement.session, replacement.connection
        self.burst.add(self.feed.switch())
        self._log.info("connection replaced", reason=reason)
        self.recorder.replaced(self._clocks.now())
        for topic in self.session.topics.held:
            if topic not in acknowledged:  # on the replacement alone, which does not report it
                self._marked(Marked(topic, TopicState.SUBSCRIBED, ""))

    def restart(self, session: Session, whole_until: float) -> None:
        """After an unexpected failure: a new session for the same topics, which may have missed something since.

        Only the topics of the old one are used, because it may be what failed. The new one waits to connect.
        """
        former = list(self.session.topics.by_name.values())
        topics = [topic for topic in former if topic.wanted]
        flowed = [t.channel.topic for t in topics if t.ever_held and t.state is not TopicState.REJECTED]
        missing = {*flowed, *(topic.channel.topic for topic in topics if topic.missing)}
        at = self._clocks.now()
        self.session = session
        session.want([topic.channel for topic in topics], at.monotonic_s, missing)
        parked = [Entered(session.state, session.reason)]  # it has no credentials, and hence nothing to lose
        lost = session.lost(_FAILURE, at.monotonic_s) or parked  # it connects again, whatever fails from here on
        self.hang_up()
        self.rotation.abandon(_FAILURE, at.monotonic_s)
        for name in flowed:
            self.carry_out(self.feed.interrupted(name, _FAILURE, whole_until, at))
        for topic in former:
            if topic.missing and not topic.wanted:  # the new session does not know it
                self.carry_out(self.feed.resumed(topic.channel.topic, None, at, subscribed=False))
        self.carry_out(self.feed.give_up_backfills(at))
        self.perform(lost)
        self.burst.flush(self.stop)
        self.record()

    def record(self) -> None:
        if self.recorder.record(self.session, self._clocks.now()):
            self._around.changed()
