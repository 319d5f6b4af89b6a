"""One topic on two connections at once, told as one stream: nothing twice, nothing missed, in order."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class TopicMerge(Generic[T]):
    """The leader's pushes are told; the follower's wait, until the leader told the same or leaves.

    Each connection brings its pushes in the exchange's order, the follower's from some moment on. Once both have
    brought the same one (`synced`), the follower has everything that comes after it.
    """

    synced: bool = False
    led: bool = True  # False once the follower leads
    _told: set[Hashable] = field(default_factory=set)
    _waiting: deque[tuple[Hashable, T]] = field(default_factory=deque)

    def told_before(self, key: Hashable) -> None:
        """The last push before there were two connections."""
        self._told.add(key)

    def leader(self, key: Hashable, item: T) -> list[T]:
        """The leader brought this."""
        self._told.add(key)
        if any(waiting == key for waiting, _ in self._waiting):
            self.synced = True
            while self._waiting.popleft()[0] != key:
                pass
        return [item]

    def follower(self, key: Hashable, item: T) -> list[T]:
        """The follower brought this; it is only told once it leads."""
        if key in self._told:
            self.synced = True
            self._waiting.clear()  # what it brought before is older still
        elif self.led:
            self._waiting.append((key, item))
        else:
            self._told.clear()  # it has caught up
            return [item]
        return []

    def switch(self) -> list[T]:
        """The leader leaves: what the follower brought beyond it."""
        self.led = False
        items = [item for _, item in self._waiting]
        self._waiting.clear()
        if items:
            self._told.clear()
        return items

    @property
    def over(self) -> bool:
        """The follower leads, and brings only what is new."""
        return not self.led and not self._told
