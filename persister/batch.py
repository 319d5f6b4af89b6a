"""Deliveries waiting to be written together."""

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Weighed(Protocol):
    @property
    def weight(self) -> int: ...


T = TypeVar("T", bound=Weighed)


@dataclass(slots=True)
class Batch(Generic[T]):
    """Grows only while a write runs: whoever writes takes all that fits, however little that is."""

    most: int
    heaviest: int  # a batch is written within Postgres' deadline also when every message is a large one
    _waiting: list[T] = field(default_factory=list)

    def add(self, item: T) -> None:
        self._waiting.append(item)

    def take(self) -> list[T]:
        """The oldest ones, in order; at least one when any waits."""
        count = weight = 0
        for item in self._waiting[: self.most]:
            weight += item.weight
            if count and weight > self.heaviest:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def __len__(self) -> int:
        return len(self._waiting)
