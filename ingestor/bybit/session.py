"""The conversation with one endpoint of Bybit's, over all of its connections.

    session.want(channels, now)       the topics to subscribe
    session.opened(now, exchange_ms)  [Send(subscribe …)], or [Send(auth …)] on the private endpoint
    session.received(frame, now)      [Deliver(topic, frame, …)]
    session.passed(now)               [Send(ping)] when one is due
    session.lost(reason, now)         [Entered(backoff), Interrupted(topic …)]
    session.due_at()                  call passed() by then

Every call returns the actions to perform, in order. Times are monotonic, in seconds, and must not decrease.
"""

import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from common.backoff import Backoff
from common.channels import Channel
from common.errors import BadMessage
from common.settings import Credentials
from ingestor.bybit import auth, messages
from ingestor.bybit.actions import Action, Clock, ClockDoubted, Close, Connect, Deliver, Entered, Send, SetAside
from ingestor.bybit.endpoints import PING_EVERY_S
from ingestor.bybit.heartbeat import NEVER, Heartbeat
from ingestor.bybit.messages import Data, Pong, Reply
from ingestor.bybit.states import TRANSITIONS, ConnectionEvent, State, TopicState
from ingestor.bybit.subscriptions import TopicSubscriptions, Unresponsive

_UNUSED = "nothing is subscribed"
_NO_CREDENTIALS = "no credentials"
_RENEWING = TopicState.RENEWING  # used for each push; Python 3.11 looks up members of an enum slowly


@dataclass(frozen=True, slots=True)
class Timing:
    """Our own limits; PING_EVERY_S alone is Bybit's."""

    ping_after_s: float = 10.0  # without any frame
    ping_every_s: float = PING_EVERY_S  # at the latest
    pong_within_s: float = 5.0
    authenticated_within_s: float = 5.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    breaker_after: int = 5  # failures in a row, then one attempt every longest_wait_s
    parked_for_s: float = 300.0
    unused_for_s: float = 30.0
    review_every_s: float = 1.0


class Session:
    """The state machine of one endpoint's connection and the topics on it."""

    def __init__(
        self,
        endpoint: str,
        timing: Timing,
        now: float,
        credentials: Credentials | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`endpoint` is a name of `common.channels.ENDPOINTS`; `draw` is the jitter of the backoff, from 0 to 1."""
        self.endpoint = endpoint
        self.state = State.IDLE
        self.reason = _UNUSED
        self.topics = TopicSubscriptions()
        self._timing = timing
        self._credentials = credentials
        self._draw = draw
        self._backoff = Backoff(timing.first_wait_s, timing.longest_wait_s)
        self._heartbeat = Heartbeat(timing.ping_after_s, timing.ping_every_s, timing.pong_within_s, opened_at=now)
        self._review_at = now
        self._wait_until = NEVER
        self._unused_since: float | None = None

    @property
    def opened_at(self) -> float:
        """When the latest connection was opened."""
        return self._heartbeat.opened_at

    @property
    def heard_at(self) -> float:
        """When its latest frame came, of any kind."""
        return self._heartbeat.heard_at

    @property
    def credentials(self) -> Credentials | None:
        return self._credentials

    @property
    def failures(self) -> int:
        """Failed connections in a row; an ack or data, not connecting alone, resets it."""
        return self._backoff.failures

    # -- desired state --------------------------------------------------------------------------------------

    def want(self, channels: Iterable[Channel], now: float, missed: Collection[str] = ()) -> list[Action]:
        """From now on, exactly these channels of the endpoint are to be subscribed.

        New ones whose topic is in `missed` were interrupted before this session began.
        """
        actions = self.topics.want(channels, now, missed)
        if self.topics.nothing_wanted:
            self._unused_since = self._unused_since or now
        else:
            self._unused_since = None
        if self.state is State.IDLE and not self.topics.nothing_wanted:
            return [*actions, *self._connect(ConnectionEvent.WANTED)]
        return [*actions, *self._converge(now)]

    def renew(self, credentials: Credentials | None) -> list[Action]:
        """Use these credentials from the next connection on; connect at once where they were missing or refused."""
        self._credentials = credentials
        return self._connect(ConnectionEvent.RENEWED) if self.state is State.PARKED and credentials else []

    def retry_rejected(self, now: float) -> list[Action]:
        """Subscribe the rejected topics once more, because the exchange's list of instruments changed."""
        self.topics.retry_rejected(now)
        return self._converge(now)

    def resubscribe(self, topics: Iterable[str], now: float) -> list[Action]:
        """Leave these topics and subscribe to them again, because what was received of them is incomplete.

        Each is interrupted, unless it was already, and resumes with its new subscription: a book with the snapshot,
        another topic with its first push or, where pushes are rare, with the ack. Unknown topics are ignored.
        """
        return [*self.topics.resubscribe(topics, now), *self._converge(now)]

    # -- the connection -------------------------------------------------------------------------------------

    def opened(self, now: float, exchange_ms: int) -> list[Action]:
        """The connection is open; `exchange_ms` is the exchange's clock as we know it, for the signature."""
        self._heartbeat.restart(now)
        self._review_at = now + self._timing.review_every_s
        if self.endpoint != "private":
            return [*self._enter(ConnectionEvent.OPENED, "connected"), *self._converge(now)]
        if self._credentials is None:  # withdrawn since the connection was begun
            return [Close(_NO_CREDENTIALS), *self._park_without_credentials()]
        expires_ms = exchange_ms + auth.AHEAD_MS
        signature = auth.signature(self._credentials.secret, expires_ms)
        self._wait_until = now + self._timing.authenticated_within_s
        challenge = Send(messages.authenticate(self._credentials.key, expires_ms, signature))
        return [*self._enter(ConnectionEvent.CHALLENGED, "connected"), challenge]

    def lost(self, reason: str, now: float, wait_s: float = 0.0) -> list[Action]:
        """The connection is lost or could not be opened; `wait_s` is its `Retry-After`, if there is one."""
        if self.state in (State.IDLE, State.BACKOFF, State.PARKED):
            return []
        self._wait_until = now + max(wait_s, self._next_wait_s())
        interrupted = self.topics.disconnected(reason, self.heard_at, now)
        return [*self._enter(ConnectionEvent.LOST, reason), *interrupted]

    # -- frames ---------------------------------------------------------------------------------------------

    def received(self, frame: bytes, now: float) -> list[Action]:
        """One text frame came; one that cannot be parsed is set aside and changes nothing else."""
        self._heartbeat.heard_at = now
        try:
            message = messages.read(frame)
        except BadMessage as error:
            return [SetAside(frame, str(error))]
        if type(message) is Data:
            return self._pushed(message, frame, now)
        if type(message) is Pong:
            return [Clock(message.exchange_ms, self._heartbeat.ponged(now))]
        return self._answered(message, now) if type(message) is Reply else []

    def _pushed(self, data: Data, frame: bytes, now: float) -> list[Action]:
        topic = self.topics.by_name.get(data.topic)
        if topic is None:
            return self._unexpected(data.topic, frame, now)
        if not topic.wanted:
            return []
        deliver = Deliver(data.topic, frame, data.time_ms)
        if topic.plain:
            topic.cadence.heard(now)
            return [deliver]
        self._backoff.reset()
        actions = topic.pushed(data, now)
        renewal = self._converge(now) if topic.state is _RENEWING else []
        return [*actions, deliver, *renewal]

    def _unexpected(self, topic: str, frame: bytes, now: float) -> list[Action]:
        if self.topics.was_left(topic):
            return self.topics.leave_again(topic, now)
        return [SetAside(frame, "must be a push of a subscribed topic")]

    def _answered(self, reply: Reply, now: float) -> list[Action]:
        if self.state is State.AUTHENTICATING:
            return self._authenticated(reply, now) if reply.op == "auth" else []
        if reply.success:
            self._backoff.reset()
        return [*self.topics.answered(reply, now), *self._converge(now)]

    def _authenticated(self, reply: Reply, now: float) -> list[Action]:
        if reply.success:
            self._wait_until = NEVER
            return [*self._enter(ConnectionEvent.AUTHENTICATED, "authenticated"), *self._converge(now)]
        kind = auth.refusal(reply.text, reply.code)
        reason = f"authentication refused ({kind}): {reply.text}"
        if kind in auth.TRANSIENT or (kind is auth.Refusal.UNKNOWN and self.failures == 0):
            doubted = [ClockDoubted()] if kind is auth.Refusal.SKEW else []
            return [Close(reason), *doubted, *self.lost(reason, now)]
        return self._park(reason, now)

    def _park(self, reason: str, now: float) -> list[Action]:
        """The exchange refused the key, and a person must act: retry rarely."""
        interrupted = self.topics.disconnected(reason, self.heard_at, now)
        self._backoff.failures += 1
        self._wait_until = now + self._timing.parked_for_s
        return [Close(reason), *self._enter(ConnectionEvent.REFUSED, reason), *interrupted]

    # -- time -----------------------------------------------------------------------------------------------

    def due_at(self) -> float:
        """When `passed` must be called at the latest."""
        if self.state is State.LIVE:
            return min(self._heartbeat.due_at(), self.topics.due_at(), self._review_at)
        return self._wait_until

    def passed(self, now: float) -> list[Action]:
        """What is due by now: a ping, a reconnect, a request once more, the end of an unused or dead connection."""
        if self.state in (State.BACKOFF, State.PARKED):
            return self._waited(now)
        if self.state is State.AUTHENTICATING and now >= self._wait_until:
            return self._leave("no answer to auth", now)
        if self.state is not State.LIVE:
            return []
        if self._heartbeat.is_dead(now):
            return self._leave("no pong", now)
        if self._is_unused(now):
            return [Close(_UNUSED), *self._enter(ConnectionEvent.UNWANTED, _UNUSED)]
        ping = [Send(messages.PING)] if self._heartbeat.pings(now) else []
        return [*ping, *self._review(now)]

    def _waited(self, now: float) -> list[Action]:
        if self.topics.nothing_wanted:
            return self._enter(ConnectionEvent.UNWANTED, _UNUSED)
        return self._connect(ConnectionEvent.DUE) if now >= self._wait_until else []

    def _review(self, now: float) -> list[Action]:
        if now < min(self._review_at, self.topics.due_at()):
            return []
        self._review_at = now + self._timing.review_every_s
        actions: list[Action] = []
        try:
            for action in self.topics.review(now):
                actions.append(action)  # also when an exception follows
        except Unresponsive as error:
            return [*actions, *self._leave(str(error), now)]
        return [*actions, *self._converge(now)]

    def _is_unused(self, now: float) -> bool:
        return (
            self._unused_since is not None
            and self.topics.nothing_wanted
            and now >= self._unused_since + self._timing.unused_for_s
        )

    # -- helpers --------------------------------------------------------------------------------------------

    def _converge(self, now: float) -> list[Action]:
        return self.topics.converge(now) if self.state is State.LIVE else []

    def _leave(self, reason: str, now: float) -> list[Action]:
        return [Close(reason), *self.lost(reason, now)]

    def _connect(self, event: ConnectionEvent) -> list[Action]:
        if self.endpoint == "private" and self._credentials is None:
            return self._park_without_credentials()
        self._wait_until = NEVER
        return [*self._enter(event, str(event)), Connect()]

    def _park_without_credentials(self) -> list[Action]:
        """Without credentials there is nothing to retry: `renew` alone, or the last topic's end, leaves this state."""
        self._wait_until = NEVER
        return self._enter(ConnectionEvent.UNAUTHENTICATED, _NO_CREDENTIALS)

    def _enter(self, event: ConnectionEvent, reason: str) -> list[Action]:
        self.state = TRANSITIONS[self.state, event]
        self.reason = reason
        return [Entered(self.state, reason)]

    def _next_wait_s(self) -> float:
        wait_s = self._backoff.next_s(self._draw)
        return self._timing.longest_wait_s if self.failures > self._timing.breaker_after else wait_s
