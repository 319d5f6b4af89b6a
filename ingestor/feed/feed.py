"""The topics of one connection as event streams.

It takes what the session reports, what the outbox dropped and what REST answers, and returns what is to be done:
events to publish, requests to REST, topics to subscribe again.

    feed.delivered(push, received_ns)             # [Event]
    feed.interrupted("tickers.X", "reset", 5.0, at)   # [Event]: a gap opened
    feed.resumed("tickers.X", next_frame, at)     # [Event]: it closed; [BackfillRequest] where REST answers first
    feed.passed(at)                               # call by feed.due_at()
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from common.channels import Channel, of_topic
from common.events import Event
from ingestor.bybit.actions import Deliver
from ingestor.bybit.book import book_of
from ingestor.bybit.heartbeat import NEVER
from ingestor.feed.backfill import Backfill, BackfillRequest, HeldPush, History, backfill_of
from ingestor.feed.event_stream import EventStream
from ingestor.feed.gaps import Gap, Gaps, described
from ingestor.feed.merge import ConnectionMerge

OVERFLOW_OVER_AFTER_S = 5.0  # without another drop
_NS = 1_000_000_000


class Instant(NamedTuple):
    """One moment on three clocks: monotonic in s, our wall clock in ns, the exchange's in ms."""

    monotonic_s: float
    wall_ns: int
    exchange_ms: int

    def wall_ns_at(self, monotonic_s: float) -> int:
        """What our wall clock showed at an earlier monotonic moment."""
        return self.wall_ns - int((self.monotonic_s - monotonic_s) * _NS)


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """What was delivered of this topic is incomplete, and only a new snapshot makes it whole."""

    topic: str


@dataclass(frozen=True, slots=True)
class BackfillFinished:
    """REST answered, or was not waited for any longer."""

    topic: str
    healed: str
    events: int
    failures: tuple[str, ...]


Output = Event | BackfillRequest | BackfillFinished | Resubscribe


@dataclass(slots=True)
class TopicFeed:
    """One topic."""

    channel: Channel
    stream: EventStream
    backfill: Backfill | None
    events: int = 0
    last_received_ns: int | None = None
    last_frame: bytes | None = None
    interrupted: bool = False  # as the session reports it
    dropped_at: float | None = None  # our own last drop, until that is over; monotonic

    @property
    def is_whole(self) -> bool:
        return not self.interrupted and self.dropped_at is None


class Feed:
    """All topics of one connection. A topic's open gap and its numbers outlive the feed, in `gaps` and its stream."""

    def __init__(self, endpoint: str, stream_of: Callable[[Channel], EventStream], gaps: Gaps) -> None:
        self._endpoint = endpoint
        self._stream_of = stream_of
        self._gaps = gaps
        self._topics: dict[str, TopicFeed] = {}
        self._backfilling: dict[str, Backfill] = {}
        self._dropping: set[str] = set()
        self._merge: ConnectionMerge | None = None
        self._switched = False

    @property
    def topics(self) -> Mapping[str, TopicFeed]:
        return self._topics

    def topic(self, name: str) -> TopicFeed:
        found = self._topics.get(name)
        if found is None:
            channel = of_topic(self._endpoint, name)
            found = TopicFeed(channel, self._stream_of(channel), backfill_of(channel))
            self._topics[name] = found
        return found

    def forget_others(self, names: Collection[str]) -> None:
        """Only these are subscribed; the others are forgotten once nothing of theirs is under way."""
        busy = self._backfilling.keys() | self._dropping
        for name in self._topics.keys() - set(names) - busy:
            del self._topics[name]

    # -- pushes ---------------------------------------------------------------------------------------------

    def delivered(self, push: Deliver, received_ns: int) -> list[Event]:
        """A push of the connection; `received_ns` is when it was read."""
        topic = self._topics.get(push.topic) or self.topic(push.topic)
        if self._merge is None:
            return self._live(topic, push, received_ns)
        if not self._switched:
            self._merge.primary(topic.channel, push.frame)
            return self._live(topic, push, received_ns)
        events = self._all_live(self._merge.after_switch(topic.channel, HeldPush(push, received_ns)))
        if self._merge.over:
            self.end_merge()
        return events

    def _live(self, topic: TopicFeed, push: Deliver, received_ns: int) -> list[Event]:
        topic.events += 1
        topic.last_received_ns = received_ns
        topic.last_frame = push.frame
        if topic.backfill is not None:
            if topic.backfill.holds:
                topic.backfill.held.append(HeldPush(push, received_ns))
                return []
            topic.backfill.pushed(push.frame)
        return [topic.stream.live(push.frame, push.time_ms, received_ns)]

    def _all_live(self, held: Iterable[HeldPush]) -> list[Event]:
        return [
            event for each in held for event in self._live(self.topic(each.push.topic), each.push, each.received_ns)
        ]

    # -- two connections ------------------------------------------------------------------------------------

    def begin_merge(self, channels: Iterable[Channel]) -> None:
        """From now on a second connection brings these topics too, to replace the first."""
        if self._merge is None or self._switched:
            self._merge, self._switched = ConnectionMerge(), False
        for channel in channels:
            self._merge.begin(channel, self.topic(channel.topic).last_frame)

    def replacement_delivered(self, push: Deliver, received_ns: int) -> None:
        """A push of the second connection, before `switch`."""
        if self._merge is not None and not self._switched:
            self._merge.replacement(self.topic(push.topic).channel, HeldPush(push, received_ns))

    def is_synced(self, topic: str) -> bool:
        """Whether the second connection has brought a push that the first one delivered too."""
        return self._merge is not None and self._merge.is_synced(topic)

    def switch(self) -> list[Event]:
        """The second connection is the only one from now on."""
        if self._merge is None:
            return []
        self._switched = True
        return self._all_live(self._merge.switch())

    def end_merge(self) -> None:
        self._merge, self._switched = None, False

    @property
    def is_merging(self) -> bool:
        return self._merge is not None

    # -- gaps -----------------------------------------------------------------------------------------------

    def left_open(self, channels: Sequence[Channel]) -> frozenset[str]:
        """Those of these topics of which an earlier run left a gap open."""
        return self._gaps.left_open(channels)

    def interrupted(self, name: str, cause: str, since: float, at: Instant) -> list[Output]:
        """The session may have missed something of the topic since this monotonic moment."""
        topic = self.topic(name)
        topic.interrupted = True
        return self._open(topic, cause, at.wall_ns_at(since), at)

    def resumed(self, name: str, next_frame: bytes | None, at: Instant, *, subscribed: bool = True) -> list[Output]:
        """Nothing is missed from here on. `next_frame` is the push that follows at once, if one does.

        A topic that is not `subscribed` any more is not backfilled.
        """
        topic = self.topic(name)
        topic.interrupted = False
        return self._resume(topic, next_frame, at, subscribed=subscribed) if topic.is_whole else []

    def dropped(self, name: str, oldest_s: int, at: Instant) -> list[Output]:
        """The outbox dropped events of the topic, the oldest read at this Unix time.

        Something is missing until it has not dropped any for some seconds.
        """
        topic = self.topic(name)
        topic.dropped_at = at.monotonic_s
        self._dropping.add(name)
        return self._open(topic, "overflow", oldest_s * _NS, at)

    def _open(self, topic: TopicFeed, cause: str, since_ns: int, at: Instant) -> list[Output]:
        self.end_merge()
        outputs = self._give_up_backfill(topic, at)
        if self._gaps.open_gap(topic.channel) is None:
            gap = self._gaps.add(Gap(self._endpoint, topic.channel.topic, cause, since_ns, topic.stream.last_id))
            outputs.append(topic.stream.gap(described(gap), at.wall_ns))
        return outputs

    def _resume(self, topic: TopicFeed, next_frame: bytes | None, at: Instant, *, subscribed: bool) -> list[Output]:
        gap = self._gaps.open_gap(topic.channel)
        if gap is None:
            return []
        first_id = topic.stream.id_of(next_frame) if next_frame is not None else None
        if topic.backfill is None or not subscribed:
            return [self._close(topic, gap, first_id, "no", at)]
        request = self._begin_backfill(topic, topic.backfill, gap, at)
        if topic.backfill.holds:
            return [request]  # the gap is closed when REST has answered
        return [request, self._close(topic, gap, first_id, None, at)]

    def _close(self, topic: TopicFeed, gap: Gap, first_id: str | None, healed: str | None, at: Instant) -> Event:
        self._gaps.close(gap, at.wall_ns, first_id, healed)
        return topic.stream.gap(described(gap), at.wall_ns)

    # -- backfill -------------------------------------------------------------------------------------------

    def answered(self, request: BackfillRequest, history: History, at: Instant) -> list[Output]:
        """REST answered this request of ours; an answer that is too late, or to another request, changes nothing."""
        name = request.channel.topic
        backfill = self._backfilling.get(name)
        if backfill is None or not backfill.awaits(request):
            return []
        return self._end_backfill(self.topic(name), backfill, history, at)

    def give_up_backfills(self, at: Instant) -> list[Output]:
        """End all backfills that are under way, as if REST had not answered in time."""
        return [output for name in list(self._backfilling) for output in self._give_up_backfill(self.topic(name), at)]

    @property
    def is_recovering(self) -> bool:
        """Whether a backfill is under way, or the end of a topic's drops is waited for."""
        return bool(self._backfilling or self._dropping)

    def _begin_backfill(self, topic: TopicFeed, backfill: Backfill, gap: Gap, at: Instant) -> BackfillRequest:
        self._backfilling[topic.channel.topic] = backfill
        from_ms = at.exchange_ms - (at.wall_ns - gap.opened_ns) // 1_000_000
        return backfill.begin(gap, from_ms, at.exchange_ms, at.monotonic_s)

    def _give_up_backfill(self, topic: TopicFeed, at: Instant) -> list[Output]:
        backfill = self._backfilling.get(topic.channel.topic)
        return [] if backfill is None else self._end_backfill(topic, backfill, _NO_ANSWER, at)

    def _end_backfill(self, topic: TopicFeed, backfill: Backfill, history: History, at: Instant) -> list[Output]:
        """The missing elements, the end of the gap, then the pushes that were held."""
        stream, gap = topic.stream, backfill.gap
        held_back = backfill.holds
        missing = backfill.missing(history.elements)
        outputs: list[Output] = [stream.backfill(each.key, each.data, each.time_ms, at.wall_ns) for each in missing]
        del self._backfilling[topic.channel.topic]
        held = backfill.end(complete=history.healed != "no")
        if gap is not None and held_back:
            first_id = stream.id_of(held[0].push.frame) if held else None
            outputs.append(self._close(topic, gap, first_id, history.healed, at))
        elif gap is not None:
            self._gaps.record_backfill(gap, history.healed)
        for each in held:
            backfill.pushed(each.push.frame)
            outputs.append(stream.live(each.push.frame, each.push.time_ms, each.received_ns))
        name = topic.channel.topic
        return [*outputs, BackfillFinished(name, history.healed, len(missing), tuple(history.failures))]

    # -- time -----------------------------------------------------------------------------------------------

    def due_at(self) -> float:
        """The monotonic moment by which `passed` is to be called."""
        answers = (backfill.due_at for backfill in self._backfilling.values())
        drops = (self._overflow_ends_at(self._topics[name]) for name in self._dropping)
        return min((*answers, *drops), default=NEVER)

    def passed(self, at: Instant) -> list[Output]:
        """What time alone brings: answers that did not come, and the end of drops."""
        late = [name for name, backfill in self._backfilling.items() if backfill.due_at <= at.monotonic_s]
        outputs = [output for name in late for output in self._give_up_backfill(self.topic(name), at)]
        for name in sorted(self._dropping):
            if self._overflow_ends_at(self._topics[name]) <= at.monotonic_s:
                outputs += self._overflow_over(self._topics[name], at)
        return outputs

    def _overflow_over(self, topic: TopicFeed, at: Instant) -> list[Output]:
        topic.dropped_at = None
        self._dropping.discard(topic.channel.topic)
        if topic.interrupted:
            return []
        if book_of(topic.channel.channel_type, topic.channel.depth) is not None:
            topic.interrupted = True  # a book without some of its changes is whole again with its next snapshot
            return [Resubscribe(topic.channel.topic)]
        return self._resume(topic, None, at, subscribed=True)

    def _overflow_ends_at(self, topic: TopicFeed) -> float:
        return NEVER if topic.dropped_at is None else topic.dropped_at + OVERFLOW_OVER_AFTER_S


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """In place of a history."""

    elements: tuple[()] = ()
    failures: tuple[str, ...] = ("no answer in time",)
    healed: str = "no"


_NO_ANSWER = _NoAnswer()
