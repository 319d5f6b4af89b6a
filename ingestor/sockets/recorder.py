"""Keeps the observed state of one connection and its topics."""

from dataclasses import replace
from datetime import UTC, datetime

import structlog

from ingestor.bybit.actions import Entered, Marked
from ingestor.bybit.heartbeat import NEVER
from ingestor.bybit.session import Session
from ingestor.bybit.states import State, TopicState
from ingestor.bybit.subscriptions import TopicSubscription
from ingestor.feed.feed import Feed, Instant
from ingestor.metrics import SOCKET_LIVE
from ingestor.observed import ObservedConnection, ObservedTopic

log = structlog.get_logger(__name__)

EVERY_S = 1.0
SOON_S = 0.1  # after a change: recording takes 1 ms for a thousand topics, and each reply of the exchange is a change
_FAILED = (State.BACKOFF, State.PARKED)


class Recorder:
    """`observed` is replaced as a whole, so any thread may read it; what has not changed is the same object."""

    def __init__(self, number: int, session: Session, feed: Feed, at: Instant) -> None:
        self._feed = feed
        self._acked_at: dict[str, datetime] = {}
        self._topics: dict[str, tuple[object, ObservedTopic]] = {}  # with what each was made of
        self._recorded_at = 0.0
        self._changed = False
        self._log = log.bind(endpoint=session.endpoint, socket_no=number)
        self.observed = ObservedConnection(
            session.endpoint, number, session.state, _time(at.wall_ns), 0, None, None, None
        )

    # -- changes --------------------------------------------------------------------------------------------

    def entered(self, entered: Entered, due_at: float, at: Instant) -> None:
        """The connection's state changed; at `due_at`, monotonic, the session acts by itself, NEVER if it does not."""
        failed = entered.state in _FAILED
        self._log_state(entered, due_at - at.monotonic_s)
        SOCKET_LIVE.labels(self.observed.endpoint, self.observed.number).set(entered.state is State.LIVE)
        self.observed = replace(
            self.observed,
            state=entered.state,
            since=_time(at.wall_ns),
            last_error=entered.reason if failed else self.observed.last_error,
            last_heartbeat_at=_time(at.wall_ns) if entered.state is State.LIVE else self.observed.last_heartbeat_at,
        )
        self._changed = True

    def marked(self, marked: Marked, at: Instant) -> None:
        """A topic's state changed."""
        if marked.state is TopicState.SUBSCRIBED:
            self._acked_at[marked.topic] = _time(at.wall_ns)
        rejected = marked.state is TopicState.REJECTED
        write = self._log.warning if rejected or marked.reason else self._log.info
        write("topic rejected" if rejected else "topic subscribed", topic=marked.topic, reason=marked.reason or None)
        self._changed = True

    def replaced(self, at: Instant) -> None:
        """Another connection does the work."""
        self.observed = replace(self.observed, since=_time(at.wall_ns))
        self._changed = True

    def measured(self, rtt_s: float) -> None:
        self.observed = replace(self.observed, rtt_ms=round(rtt_s * 1000, 3))

    def _log_state(self, entered: Entered, due_in_s: float) -> None:
        failed = entered.state in _FAILED
        more = {"retry_in_s": round(max(0.0, due_in_s), 1)} if failed and due_in_s < NEVER else {}
        write = self._log.warning if failed else self._log.info
        write("socket state", state=str(entered.state), reason=entered.reason, **more)

    # -- recording ----------------------------------------------------------------------------------------

    def due_at(self, now: float) -> float:
        return self._recorded_at + SOON_S if self._changed else now + EVERY_S

    def is_due(self, now: float) -> bool:
        return now - self._recorded_at >= (SOON_S if self._changed else EVERY_S)

    def record(self, session: Session, at: Instant) -> bool:
        """Renew `observed`; whether anything but counts has changed since the last time."""
        changed, self._changed = self._changed, False
        self._recorded_at = at.monotonic_s
        by_name = session.topics.by_name
        pending = _why_pending(session)
        self._topics = {
            name: self._topic(name, topic, pending, live=session.state is State.LIVE and topic.live)
            for name, topic in by_name.items()
            if topic.wanted
        }
        self._acked_at = {name: moment for name, moment in self._acked_at.items() if name in by_name}
        self._feed.forget_others(by_name.keys())
        heartbeat_at = self.observed.last_heartbeat_at
        if session.state is State.LIVE:
            heartbeat_at = _time(at.wall_ns_at(session.heard_at))
        self.observed = replace(
            self.observed,
            attempts=session.failures,
            topics=tuple(topic for _, topic in self._topics.values()),
            last_heartbeat_at=heartbeat_at,
        )
        return changed

    def _topic(self, name: str, topic: TopicSubscription, pending: str, *, live: bool) -> tuple[object, ObservedTopic]:
        flow = self._feed.topic(name)
        acked_at = self._acked_at.get(name)
        made_of = (topic.state, live, topic.reason, flow.events, acked_at, live or pending)
        before = self._topics.get(name)
        if before is not None and before[0] == made_of:
            return before
        state = "rejected" if topic.state is TopicState.REJECTED else "live" if live else "pending"
        last_ns = flow.last_received_ns
        observed = ObservedTopic(
            channel=topic.channel,
            state=state,
            reason=topic.reason or (None if live else pending),
            acked_at=acked_at,
            last_event_at=None if last_ns is None else _time(last_ns),
            events=flow.events,
        )
        return made_of, observed


def _why_pending(session: Session) -> str:
    if session.state is State.LIVE:
        return "waiting for the exchange's answer"
    return f"the {session.endpoint} socket is {session.state}: {session.reason}"


def _time(wall_ns: int) -> datetime:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC)
