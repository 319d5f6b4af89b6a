"""What the broker has been given and has not confirmed yet."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Unconfirmed(Generic[T]):
    """Delivery tags rise by one from 1 on each channel; confirms come in any order, singly or up to a tag."""

    _by_tag: OrderedDict[int, T] = field(default_factory=OrderedDict)  # a dict's front grows slow as it is emptied
    _last_tag: int = 0

    def __len__(self) -> int:
        return len(self._by_tag)

    def published(self, item: T) -> None:
        self._last_tag += 1
        self._by_tag[self._last_tag] = item

    def settled(self, tag: int, multiple: bool) -> Iterator[T]:
        """The items that this confirm is about; a tag that is not ours, or was settled before, is about nothing."""
        if not multiple:
            item = self._by_tag.pop(tag, None)
            if item is not None:
                yield item
            return
        while self._by_tag and (first := next(iter(self._by_tag))) <= tag:
            yield self._by_tag.pop(first)

    def oldest(self) -> T | None:
        return next(iter(self._by_tag.values()), None)

    def given_up(self) -> list[T]:
        """The channel is gone: everything unconfirmed, in order; tags start anew with the next one."""
        items = list(self._by_tag.values())
        self._by_tag.clear()
        self._last_tag = 0
        return items
