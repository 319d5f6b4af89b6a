"""The thread of one connection: read → session → feed → outbox. It knows no rule of the exchange."""

import threading
from collections.abc import Callable

import structlog

from ingestor.bybit.session import Session
from ingestor.feed.backfill import BackfillRequest, History
from ingestor.feed.feed import Feed
from ingestor.observed import ObservedConnection
from ingestor.sockets.interfaces import Connection, Poller, Surroundings
from ingestor.sockets.mailbox import Answered, Command, Mailbox, Publish, Renew, RetryRejected, Subscribe, TopicDropped
from ingestor.sockets.pace import ReadPace
from ingestor.sockets.performer import Performer
from ingestor.sockets.recorder import Recorder
from ingestor.sockets.rotation import MAX_AGE_S, Rotation
from ingestor.sockets.transport import Lost, Unfit

log = structlog.get_logger(__name__)

_MAX_WAIT_S = 1.0


class SocketWorker:
    """One connection after the other, for the same topics.

    `connect` opens a connection or raises Lost. Other threads leave commands in `mailbox`, and read `observed`.
    """

    def __init__(
        self,
        number: int,
        open_session: Callable[[], Session],
        connect: Callable[[], Connection],
        poller: Poller,
        feed: Feed,
        around: Surroundings,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        session = open_session()
        self.endpoint = session.endpoint
        self.name = f"stream {self.endpoint}/{number}"
        self.mailbox = Mailbox(poller.wake)
        self._open_session = open_session
        self._poller = poller
        self._feed = feed
        self._around = around
        self._clocks = around.clocks
        self._recorder = Recorder(number, session, feed, self._clocks.now())
        self._rotation = Rotation(feed, open_session, connect, poller.wake, self._wait_for_budget_s, max_age_s)
        self._performer = Performer(
            session, feed, self._rotation, self._recorder, connect, self._backfill_answered, around
        )
        self._pace = None if self.endpoint == "private" else ReadPace()
        self._due_at = 0.0  # everything but the reading of frames waits until then

    def wake(self) -> None:
        """End the wait for the connection, from any thread."""
        self._poller.wake()

    @property
    def observed(self) -> ObservedConnection:
        return self._recorder.observed

    def run(self, stop: threading.Event) -> None:
        performer = self._performer
        performer.stop = stop
        while not stop.is_set():
            whole_until = performer.session.heard_at
            try:
                self._step(stop)
            except Exception:
                self._poller.wake()  # the mailbox may hold further commands
                performer.restart(self._open_session(), whole_until)
                raise
        at = self._clocks.now()
        performer.carry_out(self._feed.give_up_backfills(at))
        performer.burst.flush(stop)
        performer.hang_up()
        self._rotation.abandon("stopping", at.monotonic_s)
        self._poller.close()

    def _step(self, stop: threading.Event) -> None:
        now = self._clocks.monotonic_s()
        if now >= self._due_at or self._performer.due:
            self._take_turn()
            now = self._clocks.monotonic_s()
        first, second = self._performer.connection, self._rotation.connection
        connections = [each for each in (first, second) if each is not None]
        ready = self._poller.wait(connections, self._due_at - now)
        if self._poller.woken:
            self._performer.due = True
            while (command := self.mailbox.next()) is not None:
                self._obey(command)
        if first is not None and first in ready and first is self._performer.connection:
            self._receive(first, stop)
        if second is not None and second in ready and second is self._rotation.connection:
            self._rotation.receive(self._clocks.now())
        if self._rotation.replacement is not None:
            self._performer.due = True

    def _take_turn(self) -> None:
        """Everything that is not the reading of frames."""
        performer = self._performer
        performer.due = False
        performer.perform(performer.session.passed(self._clocks.monotonic_s()))
        at = self._clocks.now()  # to connect takes time
        performer.carry_out(self._feed.passed(at))
        if (reason := self._rotation.step(performer.session, at)) is not None:
            performer.switch(reason)
        performer.burst.flush(performer.stop)
        now = self._clocks.monotonic_s()
        if self._recorder.is_due(now):
            performer.record()
        due_ats = (performer.session.due_at(), self._feed.due_at(), self._recorder.due_at(now))
        self._due_at = min(now + _MAX_WAIT_S, *due_ats)

    def _receive(self, connection: Connection, stop: threading.Event) -> None:
        performer = self._performer
        if self._pace is not None and (wait_s := self._pace.wait_s(self._clocks.monotonic_s())) > 0:
            stop.wait(wait_s)
        try:
            arrived = connection.receive()
        except Lost as lost:
            performer.lose(str(lost))
            return
        at = self._clocks.now()
        if self._pace is not None:
            self._pace.read(len(arrived), at.monotonic_s)
        for frame in arrived:
            if isinstance(frame, Unfit):
                performer.set_aside(frame.sample, frame.reason)
            else:
                performer.perform(performer.session.received(frame, at.monotonic_s), at.wall_ns)
            if performer.connection is not connection:  # the session left it; what else it brought is not wanted
                break
        performer.burst.flush(stop)

    # -- commands of other threads --------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        performer, at = self._performer, self._clocks.now()
        match command:
            case Subscribe(channels):
                left_open = self._feed.left_open(channels)
                actions = performer.session.want(channels, at.monotonic_s, left_open)  # first: this cannot be lost
                self._rotation.subscribe(channels, at.monotonic_s)
                performer.perform(actions)
            case Renew(credentials):
                self._rotation.renew(performer.session, credentials, at.monotonic_s)
                performer.perform(performer.session.renew(credentials))
            case RetryRejected():
                performer.perform(performer.session.retry_rejected(at.monotonic_s))
            case Publish(channel, make):
                performer.burst.add((make(self._feed.topic(channel.topic).stream),))
            case Answered(request, history):
                performer.carry_out(self._feed.answered(request, history, at))
            case TopicDropped(topic, events, oldest_s):
                log.error("events dropped", endpoint=self.endpoint, topic=topic, events=events)
                self._rotation.abandon(f"events of {topic} were dropped", at.monotonic_s)
                performer.carry_out(self._feed.dropped(topic, oldest_s, at))

    # -- for the parts --------------------------------------------------------------------------------------

    def _backfill_answered(self, request: BackfillRequest, history: History) -> None:
        """Called by the thread that sends requests to REST."""
        if not self.mailbox.put(Answered(request, history)):
            log.warning("backfill answer refused, mailbox full", endpoint=self.endpoint, topic=request.channel.topic)

    def _wait_for_budget_s(self, now: float) -> float:
        return self._around.budget.wait_s(private=self.endpoint == "private", now=now)
