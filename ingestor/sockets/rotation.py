"""A second connection that takes the place of the first while both are open."""

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from common.channels import Channel
from common.errors import Unavailable
from ingestor.bybit import identity
from ingestor.bybit.actions import Action, Close, Connect, Deliver, Entered, Marked, Send
from ingestor.bybit.session import Session
from ingestor.bybit.states import State, TopicState
from ingestor.feed.backfill import HeldPush
from ingestor.feed.merge import TopicMerge
from ingestor.sockets.transport import Lost, Transport

QUIET_S = 5.0  # a topic that brings nothing for so long on either connection has nothing under way
DONE_WITHIN_S = 60.0


class StreamMerge:
    """The topics of two connections: what is to be told, of what either brings."""

    def __init__(self) -> None:
        self._topics: dict[str, TopicMerge[HeldPush]] = {}

    def begin(self, channel: Channel, last: bytes | None) -> None:
        """`last` is the topic's last push so far, if there was one."""
        handover = self._topics.setdefault(channel.topic, TopicMerge())
        if last is not None:
            handover.told_before(identity.push_key(channel.channel_type, last))

    @property
    def over(self) -> bool:
        return not self._topics

    def leader(self, channel: Channel, push: HeldPush) -> None:
        """The first connection brought this, and it is told."""
        if (handover := self._topics.get(channel.topic)) is not None:
            handover.leader(_key(channel, push), push)

    def follower(self, channel: Channel, push: HeldPush) -> list[HeldPush]:
        handover = self._topics.get(channel.topic)
        if handover is None:
            return []
        told = handover.follower(_key(channel, push), push)
        if handover.over:
            del self._topics[channel.topic]
        return told

    def synced(self, topic: str) -> bool:
        return topic in self._topics and self._topics[topic].synced

    def switch(self) -> list[HeldPush]:
        """The follower leads from now on: what it is ahead."""
        told = [push for handover in self._topics.values() for push in handover.switch()]
        self._topics = {topic: handover for topic, handover in self._topics.items() if not handover.over}
        return told

    def after(self, channel: Channel, push: HeldPush) -> list[HeldPush]:
        """What the new leader brings, without what the old one told."""
        return self.follower(channel, push) if channel.topic in self._topics else [push]


@dataclass(slots=True)
class Rotation:
    """The second connection, from its beginning until it is the first one or given up."""

    session: Session
    union: StreamMerge
    open_transport: Callable[[], Transport]
    wake: Callable[[], None]  # whoever calls `step`
    give_up_at: float
    transport: Transport | None = None
    failed: str | None = None
    _opened: SimpleQueue[Transport | Lost] = field(default_factory=SimpleQueue)
    _held_at: dict[str, float] = field(default_factory=dict)

    def want(self, channels: Sequence[Channel], now: float) -> None:
        self._perform(self.session.want(channels, now), now)

    def step(self, now: float, exchange_ms: int) -> None:
        """What time brings."""
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
        self.transport = opened
        self._perform(self.session.opened(now, exchange_ms), now)

    def receive(self, now: float, received_ns: int) -> None:
        try:
            arrived = self.transport.receive() if self.transport is not None else []
        except Lost as lost:
            self._fail(str(lost))
            return
        for frame in arrived:
            if isinstance(frame, bytes):
                self._perform(self.session.received(frame, now), now, received_ns)

    def covers(self, topics: Iterable[str], until: float, quiet_s: float = QUIET_S) -> bool:
        """Whether each of these can be told from the second connection alone, given both up to this moment."""
        if self.failed is not None or self.session.state is not State.LIVE:
            return False
        return all(self._held_at.get(name, until) <= until - self._patience_s(name, quiet_s) for name in topics)

    def end(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def _patience_s(self, topic: str, quiet_s: float) -> float:
        return 0.0 if self.union.synced(topic) else quiet_s

    def _perform(self, actions: Sequence[Action], now: float, received_ns: int = 0) -> None:
        """Only what the second connection itself needs: all the rest is told of the first one."""
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
                case Marked(state=TopicState.HELD):
                    self._held_at.setdefault(action.topic, now)
                case Deliver():
                    self.union.follower(
                        self.session.topics.by_name[action.topic].channel, HeldPush(action, received_ns)
                    )
                case _:
                    pass

    def _connect(self) -> None:
        try:
            self._opened.put(self.open_transport())
        except Lost as lost:
            self._opened.put(lost)
        self.wake()

    def _send(self, text: str) -> None:
        try:
            if self.transport is not None:
                self.transport.send(text)
        except Unavailable as lost:
            self._fail(str(lost))

    def _fail(self, reason: str) -> None:
        self.failed = self.failed or reason


def _key(channel: Channel, push: HeldPush) -> Hashable:
    return identity.push_key(channel.channel_type, push.data.frame)
