"""Replaces a connection while it is live: a second one takes over once it brings the same (make before break)."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue

import structlog

from common.channels import Channel
from common.errors import Unavailable
from common.settings import Credentials
from ingestor.bybit.actions import Action, Close, Connect, Deliver, Entered, Marked, Send
from ingestor.bybit.session import Session
from ingestor.bybit.states import State, TopicState
from ingestor.feed.feed import Feed, Instant
from ingestor.metrics import CONNECTS
from ingestor.sockets.interfaces import Connection
from ingestor.sockets.transport import Lost

log = structlog.get_logger(__name__)

QUIET_S = 5.0  # a topic without a push for this long on either connection has nothing under way
DONE_WITHIN_S = 60.0
AGAIN_AFTER_S = 300.0  # after one that failed
MAX_AGE_S = 12 * 3600.0  # Bybit itself ends a connection after some hours


@dataclass(slots=True)
class Replacement:
    """The second connection, until it takes over or is given up."""

    session: Session
    feed: Feed
    connect: Callable[[], Connection]
    wake: Callable[[], None]  # the thread that calls `step`
    give_up_at: float
    connection: Connection | None = None
    failed: str | None = None
    _opened: Queue[Connection | Lost] = field(default_factory=lambda: Queue(1))
    _acked_at: dict[str, float] = field(default_factory=dict)

    def subscribe(self, channels: Iterable[Channel], now: float) -> None:
        self._perform(self.session.want(channels, now), now)

    def step(self, at: Instant) -> None:
        """What time brings."""
        now = at.monotonic_s
        if now >= self.give_up_at:
            self._fail("not done in time")
        try:
            opened = self._opened.get_nowait()
        except Empty:
            self._perform(self.session.passed(now), now)
            return
        if isinstance(opened, Lost):
            self._fail(str(opened))
            return
        self.connection = opened
        self._perform(self.session.opened(now, at.exchange_ms), now)

    def receive(self, at: Instant) -> None:
        try:
            arrived = self.connection.receive() if self.connection is not None else []
        except Lost as lost:
            self._fail(str(lost))
            return
        for frame in arrived:
            if isinstance(frame, bytes):
                self._perform(self.session.received(frame, at.monotonic_s), at.monotonic_s, at.wall_ns)

    def covers(self, topics: Iterable[str], until: float, quiet_s: float = QUIET_S) -> bool:
        """Whether each topic can continue on this connection alone, given both connections up to this moment."""
        if self.failed is not None or self.session.state is not State.LIVE:
            return False
        return all(self._acked_at.get(name, until) <= until - self._patience_s(name, quiet_s) for name in topics)

    def close(self) -> None:
        """Close the connection, also one that is opened only now or was opened and not fetched yet."""
        self._fail("abandoned")
        with suppress(Empty):
            if not isinstance(opened := self._opened.get_nowait(), Lost):
                opened.close()
        if self.connection is not None:
            self.connection.close()

    def _patience_s(self, topic: str, quiet_s: float) -> float:
        return 0.0 if self.feed.is_synced(topic) else quiet_s

    def _perform(self, actions: Sequence[Action], now: float, received_ns: int = 0) -> None:
        """Only what this connection itself needs: everything else is reported by the first one."""
        for action in actions:
            match action:
                case Connect():
                    threading.Thread(target=self._connect, name="rotation", daemon=True).start()
                case Send():
                    self._send(action.text)
                case Close():
                    self._fail(action.reason)
                case Entered(state=State.BACKOFF | State.PARKED):
                    self._fail(action.reason)
                case Marked(state=TopicState.SUBSCRIBED):
                    self._acked_at.setdefault(action.topic, now)
                case Deliver():
                    self.feed.replacement_delivered(action, received_ns)
                case _:
                    pass

    def _connect(self) -> None:
        try:
            connection = self.connect()
        except Lost as lost:
            self._opened.put(lost)
        else:
            self._opened.put(connection)
            if self.failed is not None:  # `close` may have come before this one was there
                connection.close()
        self.wake()

    def _send(self, text: str) -> None:
        try:
            if self.connection is not None:
                self.connection.send(text)
        except Unavailable as lost:
            self._fail(str(lost))

    def _fail(self, reason: str) -> None:
        self.failed = self.failed or reason


@dataclass(slots=True)
class Rotation:
    """When the connection is replaced, and by which one.

    It begins when the connection is old or its credentials are outdated, while nothing is missing and no backfill is
    under way.
    """

    feed: Feed
    open_session: Callable[[], Session]
    connect: Callable[[], Connection]
    wake: Callable[[], None]
    wait_for_budget_s: Callable[[float], float]  # 0: we may connect now, and that is counted
    max_age_s: float = MAX_AGE_S
    replacement: Replacement | None = None
    _outdated: bool = False  # the credentials are not the present ones
    _not_before: float = 0.0

    @property
    def connection(self) -> Connection | None:
        return self.replacement.connection if self.replacement is not None else None

    def step(self, session: Session, at: Instant) -> str | None:
        """Move on with it; why the replacement is to take over now, or None."""
        now = at.monotonic_s
        if self.replacement is None:
            if now >= session.opened_at + DONE_WITHIN_S:
                self.feed.end_merge()  # the topics that are still in it are quiet
            if self._is_due(session, now):
                self._begin(session, now)
            return None
        self.replacement.step(at)
        if self.replacement.failed is not None:
            self.abandon(self.replacement.failed, now)
        elif self.replacement.covers(session.topics.held, now):
            return "new credentials" if self._outdated else "its age"
        return None

    def receive(self, at: Instant) -> None:
        if self.replacement is not None:
            self.replacement.receive(at)

    def can_take_over(self, session: Session) -> bool:
        """Whether the replacement has everything that the lost connection has not brought."""
        return self.replacement is not None and self.replacement.covers(session.topics.held, session.heard_at, 0.0)

    def take_over(self) -> Replacement | None:
        """The replacement, which is the connection from now on."""
        replacement, self.replacement = self.replacement, None
        self._outdated = False
        return replacement

    def abandon(self, reason: str, now: float) -> None:
        """It is not needed any more, or failed: nothing depends on it yet."""
        replacement, self.replacement = self.replacement, None
        if replacement is None:
            return
        replacement.close()
        self.feed.end_merge()
        self._not_before = now + AGAIN_AFTER_S
        log.warning("connection replacement abandoned", endpoint=replacement.session.endpoint, reason=reason)

    def subscribe(self, channels: Iterable[Channel], now: float) -> None:
        """These topics are the ones to be subscribed from now on."""
        if self.replacement is not None:
            channels = list(channels)
            self.feed.begin_merge(channels)
            self.replacement.subscribe(channels, now)

    def renew(self, session: Session, credentials: Credentials | None, now: float) -> None:
        """These are the credentials from now on: a live connection that was made with others is replaced."""
        if self.replacement is not None and credentials != self.replacement.session.credentials:
            self.abandon("its credentials are outdated", now)
        if session.state is State.LIVE and credentials is not None and credentials != session.credentials:
            self._outdated, self._not_before = True, 0.0

    def _is_due(self, session: Session, now: float) -> bool:
        old = self._outdated or now >= session.opened_at + self.max_age_s
        whole = session.state is State.LIVE and session.topics.whole and not self.feed.is_recovering
        return old and whole and now >= self._not_before and not self.feed.is_merging

    def _begin(self, session: Session, now: float) -> None:
        if wait_s := self.wait_for_budget_s(now):
            self._not_before = now + wait_s
            return
        CONNECTS.labels(session.endpoint).inc()
        channels = [topic.channel for topic in session.topics.by_name.values() if topic.wanted]
        self.feed.begin_merge(channels)
        self.replacement = Replacement(self.open_session(), self.feed, self.connect, self.wake, now + DONE_WITHIN_S)
        self.replacement.subscribe(channels, now)
