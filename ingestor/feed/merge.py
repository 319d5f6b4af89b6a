"""One topic on two connections at once, merged into one stream: nothing twice, nothing missed, in order."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.channels import Channel
from ingestor.bybit import identity
from ingestor.feed.backfill import HeldPush

T = TypeVar("T")


@dataclass(slots=True)
class TopicMerge(Generic[T]):
    """The primary's pushes are delivered; the replacement's wait until the primary delivered the same, or ends.

    Each connection brings its pushes in the exchange's order, the replacement from some moment on. Once both have
    brought the same one (`synced`), the replacement has everything that comes after it.
    """

    synced: bool = False
    switched: bool = False  # the replacement delivers from now on
    _delivered: set[Hashable] = field(default_factory=set)
    _waiting: deque[tuple[Hashable, T]] = field(default_factory=deque)

    def delivered_before(self, key: Hashable) -> None:
        """The last push before there were two connections."""
        self._delivered.add(key)

    def primary(self, key: Hashable) -> None:
        """The primary delivered this."""
        self._delivered.add(key)
        if any(waiting == key for waiting, _ in self._waiting):
            self.synced = True
            while self._waiting.popleft()[0] != key:
                pass

    def replacement(self, key: Hashable, item: T) -> list[T]:
        """The replacement brought this; what is to be delivered now."""
        if key in self._delivered:
            self.synced = True
            self._waiting.clear()  # what it brought before is older still
        elif not self.switched:
            self._waiting.append((key, item))
        else:
            self._delivered.clear()  # it has caught up
            return [item]
        return []

    def switch(self) -> list[T]:
        """The primary ends: what the replacement brought beyond it."""
        self.switched = True
        items = [item for _, item in self._waiting]
        self._waiting.clear()
        if items:
            self._delivered.clear()
        return items

    @property
    def over(self) -> bool:
        """The replacement delivers, and brings only what is new."""
        return self.switched and not self._delivered


class ConnectionMerge:
    """The topics of two connections."""

    def __init__(self) -> None:
        self._topics: dict[str, TopicMerge[HeldPush]] = {}

    def begin(self, channel: Channel, last_frame: bytes | None) -> None:
        """`last_frame` is the topic's last push so far, if there was one."""
        merge = self._topics.setdefault(channel.topic, TopicMerge())
        if last_frame is not None:
            merge.delivered_before(identity.push_key(channel.channel_type, last_frame))

    @property
    def over(self) -> bool:
        return not self._topics

    def primary(self, channel: Channel, frame: bytes) -> None:
        """The first connection brought this, and it was delivered."""
        if (merge := self._topics.get(channel.topic)) is not None:
            merge.primary(identity.push_key(channel.channel_type, frame))

    def replacement(self, channel: Channel, held: HeldPush) -> list[HeldPush]:
        """The second connection brought this; what is to be delivered now."""
        merge = self._topics.get(channel.topic)
        if merge is None:
            return []
        found = merge.replacement(identity.push_key(channel.channel_type, held.push.frame), held)
        if merge.over:
            del self._topics[channel.topic]
        return found

    def is_synced(self, topic: str) -> bool:
        return topic in self._topics and self._topics[topic].synced

    def switch(self) -> list[HeldPush]:
        """The second connection is the only one from now on: what it is ahead."""
        found = [held for merge in self._topics.values() for held in merge.switch()]
        self._topics = {topic: merge for topic, merge in self._topics.items() if not merge.over}
        return found

    def after_switch(self, channel: Channel, held: HeldPush) -> list[HeldPush]:
        """A push of the only connection left, unless the first one had delivered it."""
        return self.replacement(channel, held) if channel.topic in self._topics else [held]
