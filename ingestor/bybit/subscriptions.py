"""The topics of one connection: which are wanted, which are subscribed, and how one becomes the other."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from common.channels import Channel
from ingestor.bybit.actions import Action, Interrupted, Marked, Resumed, Send
from ingestor.bybit.book import Book, book_of
from ingestor.bybit.cadence import Cadence, cadence_of
from ingestor.bybit.endpoints import TOPICS_PER_REQUEST
from ingestor.bybit.messages import Data, Reply
from ingestor.bybit.requests import ANSWER_WITHIN_S, PendingRequest, PendingRequests, Verdict, verdicts
from ingestor.bybit.states import TOPIC_TRANSITIONS, TopicEvent, TopicEvidence, TopicState

SNAPSHOT_WITHIN_S = 5.0  # it comes with the ack; deltas alone make no book
ATTEMPTS = 3  # requests for the same topic without an answer, until the connection counts as unresponsive
RETRY_REJECTED_AFTER_S = 600.0
_FLOWING = TopicEvidence.FLOWING  # used for each push; Python 3.11 looks up members of an enum slowly
_ENDING = (TopicState.OUTDATED, TopicState.RENEWING, TopicState.UNSUBSCRIBING)
"""Data of these still comes, and shows nothing about the next subscription."""


class Unresponsive(Exception):
    """The exchange ignores this connection's requests: only another connection helps."""


@dataclass(slots=True)
class TopicSubscription:
    """One topic on one connection.

    Three facts beside its state are independent of it: `wanted` is ours to decide, `missing` outlasts the
    connection, and `alone` is about the next request.
    """

    channel: Channel
    cadence: Cadence
    book: Book | None
    state: TopicState = TopicState.PENDING
    evidence: TopicEvidence = TopicEvidence.NONE
    reason: str = ""
    wanted: bool = True
    missing: bool = False  # interrupted and not yet resumed
    alone: bool = False  # requested separately, because a request with other topics failed
    attempts: int = 0  # requests since the last answer
    requested_at: float = 0.0
    retry_at: float = 0.0  # while REJECTED

    @property
    def live(self) -> bool:
        """Acknowledged, or sending data before the ack, as linear does."""
        if self.state in (TopicState.SUBSCRIBING, TopicState.OUTDATED):
            return self.evidence is TopicEvidence.FLOWING
        return self.subscribed

    @property
    def subscribed(self) -> bool:
        return self.state in (TopicState.SUBSCRIBED, TopicState.RENEWING)

    @property
    def ever_held(self) -> bool:
        """Subscribed at least once, also on an earlier connection: it can miss something."""
        return self.evidence is not TopicEvidence.NONE

    @property
    def plain(self) -> bool:
        """A push can change nothing but the cadence."""
        return self.evidence is _FLOWING and self.book is None and not self.missing

    def is_due(self, now: float) -> bool:
        """Whether to send subscribe."""
        if not self.wanted:
            return False
        return self.state is TopicState.PENDING or (self.state is TopicState.REJECTED and self.retry_at <= now)

    @property
    def is_leaving(self) -> bool:
        """Whether to send unsubscribe."""
        return self.state is TopicState.RENEWING or (self.state is TopicState.SUBSCRIBED and not self.wanted)

    def enter(self, event: TopicEvent) -> None:
        """The only place where the state changes. Raises KeyError for what cannot occur, which is an error of ours."""
        self.state = TOPIC_TRANSITIONS[self.state, event]

    # -- requests -------------------------------------------------------------------------------------------

    def requested(self, event: TopicEvent, now: float) -> None:
        """SUBSCRIBE or UNSUBSCRIBE is sent."""
        self.enter(event)
        self.evidence = min(self.evidence, TopicEvidence.PROVEN)
        self.attempts += 1
        self.requested_at = now
        self.cadence.restart(now)

    def acknowledged(self) -> list[Action]:
        self.enter(TopicEvent.ACKNOWLEDGED)
        self.reason = ""
        self.attempts = 0
        self.alone = False
        self.evidence = max(self.evidence, TopicEvidence.ACKNOWLEDGED)
        marked = Marked(self.channel.topic, TopicState.SUBSCRIBED, "")
        quiet = self.cadence.ceiling_s is None  # no push is due soon: the ack alone ends an interruption
        return [marked, *(self.resumed() if quiet and self.state not in _ENDING else [])]

    def refused(self, reason: str, now: float) -> list[Action]:
        self.enter(TopicEvent.REFUSED)
        new = self.reason != reason
        self.reason = reason
        self.attempts = 0
        self.alone = True
        self.retry_at = now + RETRY_REJECTED_AFTER_S
        return [Marked(self.channel.topic, TopicState.REJECTED, reason)] if new else []

    def unsubscribed(self) -> None:
        self.enter(TopicEvent.UNSUBSCRIBED)
        self._restart()

    def disconnected(self, cause: str, since: float) -> list[Action]:
        """The subscription ended with its connection; `since` is when that was last heard."""
        served = self.ever_held and self.state is not TopicState.REJECTED
        actions = self.interrupted(cause, since) if served else []
        self.enter(TopicEvent.DISCONNECTED)
        self._restart()
        self.alone = False
        self.evidence = min(self.evidence, TopicEvidence.PROVEN)
        return actions

    # -- data -----------------------------------------------------------------------------------------------

    def pushed(self, data: Data, now: float) -> list[Action]:
        """What a push brings beside its data; the first ones may come before the ack."""
        actions: list[Action] = []
        if self.book is not None and not self.book.follows(data):
            actions = self.incomplete("sequence jump", self.cadence.last_at or now)
        elif self.missing and self.state not in _ENDING and (self.book is None or data.begins_book):
            actions = self.resumed()
        self.cadence.heard(now)
        self.evidence = _FLOWING
        return actions

    def incomplete(self, cause: str, since: float) -> list[Action]:
        """Something is missing since then that only a new subscription brings."""
        self.enter(TopicEvent.INCOMPLETE)
        return self.interrupted(cause, since)

    def interrupted(self, cause: str, since: float) -> list[Action]:
        if self.missing:
            return []
        self.missing = True
        return [Interrupted(self.channel.topic, cause, since)]

    # -- time -----------------------------------------------------------------------------------------------

    def silent(self, now: float) -> list[Action]:
        """What follows from the data that has not come.

        Raises Unresponsive when even a new subscription brought nothing to a topic that is never silent for long.
        """
        if self.state is not TopicState.SUBSCRIBED or not self.wanted:
            return []
        if self._lacks_snapshot and now - self.requested_at > SNAPSHOT_WITHIN_S:
            return self.incomplete("no snapshot", self.requested_at)
        if not self.cadence.is_late(now):
            return []
        return self._late() if self.evidence >= TopicEvidence.PROVEN else self._unproven()

    @property
    def _lacks_snapshot(self) -> bool:
        """A book whose deltas come without the snapshot that they change."""
        return self.evidence is TopicEvidence.FLOWING and self.book is not None and self.book.update_id is None

    def _late(self) -> list[Action]:
        if self.cadence.missed_again():
            raise Unresponsive(f"{self.channel.topic} remains silent after a new subscription")
        self.alone = True
        return self.incomplete("silent", self.cadence.last_at or 0.0)

    def _unproven(self) -> list[Action]:
        """Acknowledged, and no data ever came: option acknowledges topics that it does not have."""
        if self.reason:
            return []
        self.reason = "unproven: acknowledged, but no data ever came"
        return [Marked(self.channel.topic, TopicState.SUBSCRIBED, self.reason)]

    # -- helpers --------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        self.attempts = 0
        if self.book is not None:
            self.book.restart()

    def resumed(self) -> list[Action]:
        if not self.missing:
            return []
        self.missing = False
        return [Resumed(self.channel.topic)]


@dataclass(slots=True)
class TopicSubscriptions:
    """Subscribes what is wanted and unsubscribes what is not, touching only what differs."""

    by_name: dict[str, TopicSubscription] = field(default_factory=dict)
    _requests: PendingRequests = field(default_factory=PendingRequests)
    _left_at: dict[str, float] = field(default_factory=dict)  # topics whose late pushes are expected

    def want(self, channels: Iterable[Channel], now: float, missed: Collection[str] = ()) -> list[Action]:
        """From now on exactly these are wanted; the new ones named in `missed` were interrupted by a restart."""
        wanted = {channel.topic: channel for channel in channels}
        actions: list[Action] = []
        for name, topic in list(self.by_name.items()):
            topic.wanted = name in wanted
            if not topic.wanted and topic.state in (TopicState.PENDING, TopicState.REJECTED):
                actions += self._forget(name, now)
        for name, channel in wanted.items():
            if name not in self.by_name:
                self._add(channel)
                actions += self.by_name[name].interrupted("restart", now) if name in missed else []
        return actions

    def resubscribe(self, names: Iterable[str], now: float) -> list[Action]:
        """Something of these was lost after it was received."""
        return [action for topic in self._known(names) for action in topic.incomplete("overflow", now)]

    def retry_rejected(self, now: float) -> None:
        """The list of instruments changed: what was refused may exist now."""
        for topic in self.by_name.values():
            if topic.state is TopicState.REJECTED:
                topic.retry_at = now

    # -- questions ------------------------------------------------------------------------------------------

    @property
    def nothing_wanted(self) -> bool:
        return not any(topic.wanted for topic in self.by_name.values())

    @property
    def held(self) -> list[str]:
        """The wanted topics that the exchange acknowledged."""
        return [name for name, topic in self.by_name.items() if topic.wanted and topic.subscribed]

    @property
    def whole(self) -> bool:
        """Whether no topic is interrupted."""
        return not any(topic.missing for topic in self.by_name.values())

    def was_left(self, name: str) -> bool:
        """Whether this topic was unsubscribed on the present connection, or was never subscribed there in the end."""
        return name in self._left_at

    def due_at(self) -> float:
        """When the next answer is overdue."""
        return self._requests.due_at()

    # -- requests -------------------------------------------------------------------------------------------

    def converge(self, now: float) -> list[Action]:
        """The requests that bring the exchange closer to what is wanted, as many as may be sent now."""
        if self._requests.free <= 0:
            return []
        topics = self.by_name.values()
        leaving = [(TopicEvent.UNSUBSCRIBE, batch) for batch in _batches([t for t in topics if t.is_leaving])]
        due = [(TopicEvent.SUBSCRIBE, batch) for batch in _batches([t for t in topics if t.is_due(now)])]
        return [self._request(event, batch, now) for event, batch in [*leaving, *due][: self._requests.free]]

    def leave_again(self, name: str, now: float) -> list[Action]:
        """After a push of a topic that was left: a late one at first, and later a sign that it is still subscribed.

        It is where the exchange handled unsubscribe before an earlier subscribe that it had not answered.
        """
        late = now - self._left_at[name] <= ANSWER_WITHIN_S
        if late or self._requests.free <= 0 or self._requests.include(name):
            return []
        self._left_at[name] = now
        return [self._requests.send("unsubscribe", [name], now)]

    def answered(self, reply: Reply, now: float) -> list[Action]:
        """What follows from an answer; one that belongs to no request is ignored."""
        request = self._requests.answered(reply)
        if request is None:
            return []
        if request.op == "unsubscribe":
            return [action for topic in self._known(request.topics) for action in self._unsubscribed(topic, now)]
        reason = reply.text or ("listed in failTopics" if reply.failed else "refused without a reason")
        found = verdicts(reply, request.topics)
        return [action for name in request.topics for action in self._judged(name, found[name], reason, now)]

    # -- time -----------------------------------------------------------------------------------------------

    def review(self, now: float) -> Iterator[Action]:
        """What follows from answers and data that have not come. Raises Unresponsive, perhaps after some actions."""
        for request in self._requests.take_overdue(now):
            for topic in self._known(request.topics):
                yield from self._unanswered(topic, request)
        for topic in self.by_name.values():
            yield from topic.silent(now)

    def disconnected(self, cause: str, since: float, now: float) -> list[Action]:
        """The connection is lost: everything wanted has to be subscribed on the next one."""
        self._requests.clear()
        actions: list[Action] = []
        for name, topic in list(self.by_name.items()):
            actions += topic.disconnected(cause, since) if topic.wanted else self._forget(name, now)
        self._left_at.clear()
        return actions

    # -- helpers --------------------------------------------------------------------------------------------

    def _known(self, names: Iterable[str]) -> list[TopicSubscription]:
        return [self.by_name[name] for name in names if name in self.by_name]

    def _add(self, channel: Channel) -> None:
        cadence, book = cadence_of(channel.channel_type), book_of(channel.channel_type, channel.depth)
        left = self._left_at.pop(channel.topic, None) is not None
        leaving = left and self._requests.include(channel.topic)  # by `leave_again`: that has to be answered first
        state = TopicState.UNSUBSCRIBING if leaving else TopicState.PENDING
        self.by_name[channel.topic] = TopicSubscription(channel, cadence, book, state)

    def _forget(self, name: str, now: float) -> list[Action]:
        self._left_at[name] = now
        return self.by_name.pop(name).resumed()

    def _request(self, event: TopicEvent, topics: list[TopicSubscription], now: float) -> Send:
        for topic in topics:
            topic.requested(event, now)
        op = "subscribe" if event is TopicEvent.SUBSCRIBE else "unsubscribe"
        return self._requests.send(op, [topic.channel.topic for topic in topics], now)

    def _judged(self, name: str, verdict: Verdict, reason: str, now: float) -> list[Action]:
        topic = self.by_name[name]
        if verdict is Verdict.ACKNOWLEDGED:
            return topic.acknowledged()
        if not topic.wanted:
            return self._forget(name, now)
        if verdict is Verdict.REFUSED:
            return topic.refused(reason, now)
        topic.alone = topic.alone or verdict is Verdict.RETRY_ALONE
        topic.attempts = 0
        topic.enter(TopicEvent.RETRY)
        return []

    def _unsubscribed(self, topic: TopicSubscription, now: float) -> list[Action]:
        if not topic.wanted:
            return self._forget(topic.channel.topic, now)
        topic.unsubscribed()
        return []

    def _unanswered(self, topic: TopicSubscription, request: PendingRequest) -> list[Action]:
        """Data counts as an answer to subscribe; anything else is requested again, alone."""
        subscribe = request.op == "subscribe"
        if subscribe and topic.evidence is TopicEvidence.FLOWING:
            return topic.acknowledged()
        if topic.attempts >= ATTEMPTS:
            raise Unresponsive(f"no answer to {request.op} of {topic.channel.topic}")
        topic.alone = True
        topic.enter(TopicEvent.RETRY if subscribe and topic.wanted else TopicEvent.UNCERTAIN)
        return []


def _batches(topics: list[TopicSubscription]) -> Iterator[list[TopicSubscription]]:
    together = [topic for topic in topics if not topic.alone]
    batches = (together[start : start + TOPICS_PER_REQUEST] for start in range(0, len(together), TOPICS_PER_REQUEST))
    return chain(batches, ([topic] for topic in topics if topic.alone))
