"""The messages that were published and that the broker has not confirmed yet."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ingestor.delivery.outbox import Entry

T = TypeVar("T")

CONFIRMED_WITHIN_S = 10.0  # of the oldest message: a paused broker shows no other symptom


@dataclass(slots=True)
class Unconfirmed(Generic[T]):
    """Delivery tags rise by one from 1 on each channel; confirms arrive in any sequence, singly or up to a tag
    (rabbitmq.com/docs/confirms).
    """

    _by_tag: OrderedDict[int, T] = field(default_factory=OrderedDict)  # taking a plain dict's first item grows slow
    _last_tag: int = 0

    def __len__(self) -> int:
        return len(self._by_tag)

    def published(self, item: T) -> None:
        self._last_tag += 1
        self._by_tag[self._last_tag] = item

    def confirmed(self, tag: int, *, multiple: bool) -> Iterator[T]:
        """The items that this confirm covers; none for a tag that is unknown or was confirmed before."""
        if not multiple:
            item = self._by_tag.pop(tag, None)
            if item is not None:
                yield item
            return
        while self._by_tag and (first := next(iter(self._by_tag))) <= tag:
            yield self._by_tag.pop(first)

    def oldest(self) -> T | None:
        return next(iter(self._by_tag.values()), None)

    def drain(self) -> list[T]:
        """All items, oldest first, when the channel ended; the tags of the next channel start at 1."""
        items = list(self._by_tag.values())
        self._by_tag.clear()
        self._last_tag = 0
        return items


@dataclass(slots=True)
class Unroutable:
    """Events that reached no queue although a subscription binds one: the queue is gone and they are sent again."""

    entries: list[Entry] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)  # returned; their confirms follow

    def returned(self, event_id: str) -> None:
        self._ids.add(event_id)

    def separate(self, confirmed: Iterable[Entry]) -> list[Entry]:
        """Those of the confirmed events that reached a queue; the others are kept in `entries`."""
        if not self._ids:
            return list(confirmed)
        routed: list[Entry] = []
        for entry in confirmed:
            (self.entries if entry.event.id in self._ids else routed).append(entry)
        return routed

    def drain(self) -> list[Entry]:
        entries, self.entries = self.entries, []
        self._ids.clear()
        return entries


@dataclass(slots=True)
class ConfirmDeadline:
    """Finds out that the oldest unconfirmed message has been the same one for too long."""

    within_s: float = CONFIRMED_WITHIN_S
    _oldest: object = None
    _since: float = 0.0

    def missed(self, oldest: object, now: float) -> bool:
        """Called regularly with the oldest unconfirmed message, None without any."""
        if oldest is not self._oldest:
            self._oldest, self._since = oldest, now
        return oldest is not None and now - self._since > self.within_s
