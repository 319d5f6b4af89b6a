"""What one socket should hold, what it holds, and what it has asked for."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from common.channels import Channel
from ingestor.bybit import messages
from ingestor.bybit.actions import Action, Interrupted, Marked, Resumed, Send
from ingestor.bybit.book import Book, book_of
from ingestor.bybit.cadence import Cadence, cadence_of
from ingestor.bybit.endpoints import TOPICS_PER_REQUEST
from ingestor.bybit.messages import Data, Reply
from ingestor.bybit.states import TopicState

IN_FLIGHT = 20  # requests without an answer
ANSWER_WITHIN_S = 5.0
SNAPSHOT_WITHIN_S = 5.0  # it comes with the ack; changes alone make no book
TRIES = 3  # requests for the same topic without any answer, until the socket counts as deaf
ASK_AGAIN_AFTER_S = 600.0  # a rejected topic
_ALREADY_HELD = "already subscribed"


class Deaf(Exception):
    """The exchange does not answer our requests on this socket."""


@dataclass(slots=True)
class TopicSubscription:
    """One topic on this socket."""

    channel: Channel
    rhythm: Cadence
    book: Book | None
    state: TopicState = TopicState.WANTED
    reason: str = ""
    wanted: bool = True
    alone: bool = False  # ask for it in a request of its own
    tries: int = 0
    ask_at: float = 0.0
    asked_at: float = 0.0
    flowed: bool = False  # since it was last asked for
    proven: bool = False  # ever
    ever_held: bool = False
    missing: bool = False  # something may have been missed, and nothing has come since
    renew: bool = False  # leave it and ask for it anew
    suspect: bool = False  # was asked anew because it was silent
    overflowing: bool = False  # we drop some of its events ourselves, for now

    @property
    def leaves(self) -> bool:
        return self.state is TopicState.HELD and (self.renew or not self.wanted)

    @property
    def plain(self) -> bool:
        """Held, flowing and without a hole: a push needs no second look."""
        return self.proven and self.flowed and self.book is None and not self.missing

    @property
    def baseless(self) -> bool:
        """A book whose changes come without the snapshot that they change."""
        return self.flowed and self.book is not None and self.book.update_id is None

    @property
    def live(self) -> bool:
        """Acknowledged, or sending before its ack."""
        return self.state is TopicState.HELD or (self.state is TopicState.ASKED and self.flowed)


@dataclass(slots=True)
class PendingRequest:
    op: str
    topics: list[str]
    due_at: float


@dataclass(slots=True)
class TopicSubscriptions:
    """Brings what the exchange holds for this socket in line with what is wanted, touching only what differs."""

    by_name: dict[str, TopicSubscription] = field(default_factory=dict)
    _requests: dict[str, PendingRequest] = field(default_factory=dict)
    _number: int = 0
    _left_at: dict[str, float] = field(default_factory=dict)  # late pushes of these are no surprise

    def want(self, channels: Iterable[Channel], now: float, missed: Collection[str] = ()) -> list[Action]:
        """Exactly these, from now on; of the new ones, those in `missed` lack what an earlier life did not see."""
        told: list[Action] = []
        wanted = {channel.topic: channel for channel in channels}
        for name, topic in list(self.by_name.items()):
            topic.wanted = name in wanted
            if not topic.wanted and topic.state in (TopicState.WANTED, TopicState.REJECTED):
                told += self._forget(name, now)
        for name, channel in wanted.items():
            if name not in self.by_name:
                rhythm, book = cadence_of(channel.channel_type), book_of(channel.channel_type, channel.depth)
                self.by_name[name] = TopicSubscription(channel, rhythm, book, ask_at=now)
                self._left_at.pop(name, None)
                if name in missed:
                    told += self._interrupted(self.by_name[name], name, "restart", now)
        return told

    @property
    def nothing_wanted(self) -> bool:
        return not any(topic.wanted for topic in self.by_name.values())

    @property
    def held(self) -> list[str]:
        return [name for name, topic in self.by_name.items() if topic.wanted and topic.state is TopicState.HELD]

    @property
    def whole(self) -> bool:
        """Nothing is missing on any of them."""
        return not any(topic.missing for topic in self.by_name.values())

    def known_as_left(self, name: str) -> bool:
        return name in self._left_at

    def due_at(self) -> float:
        return min((request.due_at for request in self._requests.values()), default=float("inf"))

    # -- asking ---------------------------------------------------------------------------------------------

    def converge(self, now: float) -> list[Action]:
        """The requests that bring us closer, at most IN_FLIGHT of them unanswered at a time."""
        if len(self._requests) >= IN_FLIGHT:
            return []
        leaving = [name for name, topic in self.by_name.items() if topic.leaves]
        asking = [
            name
            for name, topic in self.by_name.items()
            if topic.wanted and topic.state in (TopicState.WANTED, TopicState.REJECTED) and topic.ask_at <= now
        ]
        room = IN_FLIGHT - len(self._requests)
        batches = [("unsubscribe", batch) for batch in self._batches(leaving)]
        batches += [("subscribe", batch) for batch in self._batches(asking)]
        return [self._ask(op, batch, now) for op, batch in batches[:room]]

    def leave_again(self, name: str, now: float) -> list[Action]:
        """A push of a topic that we left: late at first, and later a sign that the exchange still holds it.

        It does when it handled an unsubscribe before an earlier subscribe that it had not answered.
        """
        if now - self._left_at[name] <= ANSWER_WITHIN_S or len(self._requests) >= IN_FLIGHT:
            return []
        self._left_at[name] = now
        return [self._request("unsubscribe", [name], now)]

    def _batches(self, names: list[str]) -> Iterator[list[str]]:
        alone = [name for name in names if self.by_name[name].alone]
        others = [name for name in names if not self.by_name[name].alone]
        for start in range(0, len(others), TOPICS_PER_REQUEST):
            yield others[start : start + TOPICS_PER_REQUEST]
        for name in alone:
            yield [name]

    def _ask(self, op: str, names: list[str], now: float) -> Send:
        for name in names:
            topic = self.by_name[name]
            topic.state = TopicState.ASKED if op == "subscribe" else TopicState.LEAVING
            topic.flowed = topic.renew = False
            topic.tries += 1
            topic.asked_at = now
            topic.rhythm.restart(now)
        return self._request(op, names, now)

    def _request(self, op: str, names: list[str], now: float) -> Send:
        self._number += 1
        req_id = f"{op[0]}{self._number}"
        self._requests[req_id] = PendingRequest(op, names, now + ANSWER_WITHIN_S)
        return Send(messages.subscribe(names, req_id) if op == "subscribe" else messages.unsubscribe(names, req_id))

    # -- being answered -------------------------------------------------------------------------------------

    def answered(self, reply: Reply, now: float) -> list[Action]:
        """What follows from an answer; one that belongs to no request is passed over."""
        request = self._taken(reply)
        if request is None:
            return []
        if request.op == "unsubscribe":
            return [action for name in request.topics for action in self._gone(name, now)]
        outcome = self._outcome(reply, request.topics)
        return [action for name in request.topics for action in outcome(name, now)]

    def _taken(self, reply: Reply) -> PendingRequest | None:
        if reply.req_id is not None:
            return self._requests.pop(reply.req_id, None)
        for req_id, request in self._requests.items():
            if _could_answer(reply, request):
                return self._requests.pop(req_id)
        return None

    def _outcome(self, reply: Reply, asked: list[str]) -> Callable[[str, float], list[Action]]:
        """Held, rejected or to be asked again, for each topic of the request."""
        if reply.held or reply.failed:
            refused = self._refused(reply.words or "listed in failTopics")
            taken = set(asked) - set(reply.failed) if reply.success else set(reply.held)
            return lambda name, now: self._held(name, now) if name in taken else refused(name, now)
        if reply.success:
            return self._held
        named = messages.named_topic(reply.words)
        guilty = asked[0] if len(asked) == 1 else named
        judged = self._held if _ALREADY_HELD in reply.words else self._refused(reply.words)
        again = self._asked_again if guilty in asked else self._asked_alone
        return lambda name, now: judged(name, now) if name == guilty else again(name, now)

    def _refused(self, words: str) -> Callable[[str, float], list[Action]]:
        return lambda name, now: self._rejected(name, words, now)

    def _held(self, name: str, _now: float) -> list[Action]:
        topic = self.by_name.get(name)
        if topic is None or topic.state is not TopicState.ASKED:
            return []
        topic.state, topic.reason, topic.tries, topic.ever_held = TopicState.HELD, "", 0, True
        topic.alone = False
        quiet = topic.rhythm.ceiling_s is None  # no push is due soon: the ack alone ends what was missed
        return [Marked(name, TopicState.HELD, ""), *(self._resumed(topic, name) if quiet else [])]

    def _rejected(self, name: str, words: str, now: float) -> list[Action]:
        topic = self.by_name.get(name)
        if topic is None or topic.state is not TopicState.ASKED:
            return []
        if not topic.wanted:
            return self._gone(name, now)
        new = topic.reason != words
        topic.state, topic.reason, topic.tries, topic.alone = TopicState.REJECTED, words, 0, True
        topic.ask_at = now + ASK_AGAIN_AFTER_S
        return [Marked(name, TopicState.REJECTED, words)] if new else []

    def _asked_again(self, name: str, now: float) -> list[Action]:
        """The request was refused for another topic's sake."""
        topic = self.by_name.get(name)
        if topic is None or topic.state is not TopicState.ASKED:
            return []
        if not topic.wanted:
            return self._gone(name, now)
        topic.state, topic.ask_at, topic.tries = TopicState.WANTED, now, 0
        return []

    def _asked_alone(self, name: str, now: float) -> list[Action]:
        if name in self.by_name:
            self.by_name[name].alone = True
        return self._asked_again(name, now)

    def _gone(self, name: str, now: float) -> list[Action]:
        topic = self.by_name.get(name)
        if topic is None:
            return []
        if topic.wanted:  # wanted anew while it was leaving
            topic.state, topic.ask_at, topic.tries = TopicState.WANTED, now, 0
            if topic.book is not None:
                topic.book.restart()
            return []
        return self._forget(name, now)

    def _forget(self, name: str, now: float) -> list[Action]:
        """Nobody wants it any more: whatever was missed ends here."""
        topic = self.by_name.pop(name)
        self._left_at[name] = now
        topic.overflowing = False
        return self._resumed(topic, name)

    # -- data -----------------------------------------------------------------------------------------------

    def pushed(self, topic: TopicSubscription, data: Data, now: float) -> list[Action]:
        """What a push tells beside itself; it may come before its ack."""
        told: list[Action] = []
        if topic.book is not None and not topic.book.follows(data):
            told = self._interrupted(topic, data.topic, "sequence jump", topic.rhythm.last_at or now)
            topic.renew = True
        elif topic.missing and topic.state is not TopicState.LEAVING and _resumes(topic, data):
            told = self._resumed(topic, data.topic)
        topic.rhythm.heard(now)
        topic.flowed = topic.proven = topic.ever_held = True
        topic.suspect = False
        return told

    # -- time -----------------------------------------------------------------------------------------------

    def overdue(self, now: float) -> list[Action]:
        """Requests that nobody answered: their data counts as an answer, the rest is asked again, alone."""
        late = [req_id for req_id, request in self._requests.items() if request.due_at <= now]
        told: list[Action] = []
        for req_id in late:
            request = self._requests.pop(req_id)
            for name in request.topics:
                told += self._unanswered(name, request.op, now)
        return told

    def _unanswered(self, name: str, op: str, now: float) -> list[Action]:
        topic = self.by_name.get(name)
        if topic is None:
            return []
        if op == "subscribe" and topic.flowed:
            return self._held(name, now)
        if topic.tries >= TRIES:
            raise Deaf(f"no answer to {op} of {name}")
        topic.alone = True
        asks_again = op == "subscribe" and topic.wanted
        topic.state = TopicState.WANTED if asks_again else TopicState.HELD  # perhaps held: to be left for certain
        topic.renew = topic.wanted and not asks_again
        topic.ask_at = now
        return []

    def late(self, now: float) -> list[Action]:
        """Topics that are silent against their own rhythm: each is asked for anew; twice in a row is the socket's."""
        told: list[Action] = []
        for name, topic in self.by_name.items():
            if topic.state is not TopicState.HELD or not topic.wanted or topic.renew:
                continue
            if topic.baseless and now - topic.asked_at > SNAPSHOT_WITHIN_S:
                told += self._interrupted(topic, name, "no snapshot", topic.asked_at)
                topic.renew = True
            elif topic.rhythm.late(now):
                told += self._late(topic, name) if topic.proven else self._unproven(topic, name)
        return told

    def _late(self, topic: TopicSubscription, name: str) -> list[Action]:
        topic.rhythm.be_patient()
        if topic.suspect:
            topic.suspect = False
            raise Deaf(f"{name} stays silent after it was subscribed anew")
        topic.renew = topic.alone = topic.suspect = True
        return self._interrupted(topic, name, "silent", topic.rhythm.last_at or 0.0)

    def _unproven(self, topic: TopicSubscription, name: str) -> list[Action]:
        """Acknowledged, and yet nothing ever came: option says yes to topics that it does not have."""
        if topic.reason:
            return []
        topic.reason = "unproven: acknowledged, but no data ever came"
        return [Marked(name, TopicState.HELD, topic.reason)]

    def lost(self, cause: str, since: float, now: float) -> list[Action]:
        """The socket is gone and holds nothing: everything wanted has to be asked for on the next one."""
        told: list[Action] = []
        self._requests.clear()
        for name, topic in list(self.by_name.items()):
            if not topic.wanted:
                told += self._forget(name, now)
                continue
            if topic.ever_held and topic.state is not TopicState.REJECTED:
                told += self._interrupted(topic, name, cause, since)
            if topic.state is not TopicState.REJECTED:
                topic.state, topic.ask_at = TopicState.WANTED, now
            topic.tries, topic.alone, topic.flowed, topic.renew = 0, False, False, False
            if topic.book is not None:
                topic.book.restart()
        self._left_at.clear()
        return told

    def overflowed(self, names: Iterable[str], since: float) -> list[Action]:
        """We drop events of these ourselves: they miss something until `overflow_over`, although data flows."""
        told: list[Action] = []
        for name in names:
            if (topic := self.by_name.get(name)) is not None:
                topic.overflowing = True
                told += self._interrupted(topic, name, "overflow", since)
        return told

    def overflow_over(self, names: Iterable[str]) -> list[Action]:
        """Nothing more is dropped. A book without some of its deltas is worth nothing: it is asked for anew."""
        told: list[Action] = []
        for name in names:
            topic = self.by_name.get(name)
            if topic is None:
                continue
            topic.overflowing = False
            if topic.book is not None:
                topic.renew = True
            elif topic.live:
                told += self._resumed(topic, name)
        return told

    def resubscribe(self, names: Iterable[str], now: float) -> list[Action]:
        """Something of these was lost after it was received: only a new subscription makes them whole."""
        actions: list[Action] = []
        for topic in [self.by_name[name] for name in names if name in self.by_name]:
            actions += self._interrupted(topic, topic.channel.topic, "overflow", now)
            topic.renew = True
        return actions

    def retry_rejected(self, now: float) -> None:
        """The list of instruments changed: what was refused may exist now."""
        for topic in self.by_name.values():
            if topic.state is TopicState.REJECTED:
                topic.ask_at = now

    def _interrupted(self, topic: TopicSubscription, name: str, cause: str, since: float) -> list[Action]:
        if topic.missing:
            return []
        topic.missing = True
        return [Interrupted(name, cause, since)]

    def _resumed(self, topic: TopicSubscription, name: str) -> list[Action]:
        if not topic.missing or topic.overflowing:
            return []
        topic.missing = False
        return [Resumed(name)]


def _resumes(topic: TopicSubscription, data: Data) -> bool:
    """A book is whole again with its snapshot; anything else with its next push."""
    return topic.book is None or data.snapshot or data.update_id == 1


def _could_answer(reply: Reply, request: PendingRequest) -> bool:
    if reply.held or reply.failed:
        return request.op == reply.op and not set(request.topics).isdisjoint(reply.held + reply.failed)
    return not reply.op or reply.op == request.op
