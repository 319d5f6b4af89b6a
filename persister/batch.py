"""Deliveries that wait to be written together."""

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

_SLOW_S = 1.0  # no balance is to be later than that; and RabbitMQ, which hears nothing meanwhile, waits for 4 s


class Weighed(Protocol):
    @property
    def weight(self) -> int: ...


T = TypeVar("T", bound=Weighed)


@dataclass(slots=True)
class Pace:
    """How many are written together: half as many after a write that failed or was slow, in case it was too much."""

    max_count: int
    count: int

    def failed(self) -> None:
        self.count = max(1, self.count // 2)

    def took(self, duration_s: float) -> None:
        if duration_s > _SLOW_S:
            self.failed()
        else:
            self.count = min(self.max_count, 2 * self.count)


@dataclass(slots=True)
class Batch(Generic[T]):
    """Grows only while a write runs: each write takes all that fits, however little that is."""

    pace: Pace
    max_weight: int  # a batch is written within PostgreSQL's deadline also when every message is a large one
    _waiting: list[T] = field(default_factory=list)

    def add(self, item: T) -> None:
        self._waiting.append(item)

    def take(self) -> list[T]:
        """The oldest ones, oldest first; at least one when any waits."""
        count = weight = 0
        for item in self._waiting[: self.pace.count]:
            weight += item.weight
            if count and weight > self.max_weight:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def __len__(self) -> int:
        return len(self._waiting)
