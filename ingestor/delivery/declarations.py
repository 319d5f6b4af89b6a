"""What is known to be on the broker, and what has to be declared there."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import structlog

from common.topology import Binding, Queue
from ingestor.delivery.amqp_topology import InspectedQueue, QueueDeclared, QueueUnreachable

log = structlog.get_logger(__name__)

_BATCH = 1_000  # bindings, before the broker's answer is awaited
_REBIND_BATCH = 25  # bindings, after each inspection of all queues


class TopologyBroker(Protocol):
    """The broker's side; each method returns when it is done."""

    def declare_exchanges(self) -> None: ...

    def declare(self, queue: Queue) -> QueueDeclared | QueueUnreachable: ...

    def inspect(self, name: str) -> InspectedQueue | None: ...

    def delete(self, name: str) -> None: ...

    def bind(self, bindings: Sequence[Binding]) -> None: ...

    def unbind(self, bindings: Sequence[Binding]) -> None: ...

    def process_events(self) -> None: ...

    def close(self) -> None: ...


class Declarations:
    """Remembers what was declared, so that the broker receives only what is new."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.mismatched: set[str] = set()  # queues that exist with other arguments, and are used as they are
        self.unreachable: set[str] = set()  # classic queues whose node of a cluster is down
        self._clock = clock
        self._declared: set[str] = set()
        self._bound: dict[Binding, float] = {}  # and when that was requested
        self._by_queue: dict[str, set[Binding]] = {}
        self._unbound: set[Binding] = set()
        self._to_rebind: list[Binding] = []

    def apply(self, broker: TopologyBroker, queues: Sequence[Queue], bindings: frozenset[Binding]) -> None:
        """Declare the exchanges, and those of the queues and bindings that are not known to exist."""
        broker.declare_exchanges()
        for queue in queues:
            if queue.name not in self._declared and self._declare(broker, queue):
                self._declared.add(queue.name)
        self._bind(broker, [each for each in bindings - self._bound.keys() if each.queue in self._declared])

    def unbind(self, broker: TopologyBroker, bindings: frozenset[Binding]) -> None:
        """Remove these bindings, those again that were removed before and bound since."""
        for batch in _batches(list(bindings - self._unbound)):
            broker.unbind(batch)
            for binding in batch:
                self._bound.pop(binding, None)
                self._by_queue.get(binding.queue, set()).discard(binding)
                self._unbound.add(binding)
        self._unbound &= bindings

    def rebind_some(self, broker: TopologyBroker) -> None:
        """Declare some bindings again, all of them in turn: AMQP cannot show that one was removed by hand."""
        if not self._to_rebind:
            self._to_rebind = list(self._bound)
        batch = self._to_rebind[:_REBIND_BATCH]
        self._to_rebind = self._to_rebind[_REBIND_BATCH:]
        self._bind(broker, [binding for binding in batch if binding in self._bound])

    def keys_of(self, queue: str) -> list[str]:
        """The routing keys with which the queue is bound."""
        return [binding.routing_key for binding in self._by_queue.get(queue, ())]

    def forget(self, queue: str) -> None:
        """The queue is gone, and its bindings with it."""
        self._declared.discard(queue)
        for binding in self._by_queue.pop(queue, set()):
            self._bound.pop(binding, None)

    def forget_before(self, moment: float = float("inf")) -> None:
        """Declare everything again, except for bindings that were requested after this moment (monotonic)."""
        self._declared.clear()
        self._bound = {binding: at for binding, at in self._bound.items() if at > moment}
        self._by_queue.clear()
        for binding in self._bound:
            self._by_queue.setdefault(binding.queue, set()).add(binding)
        self._unbound.clear()

    def _declare(self, broker: TopologyBroker, queue: Queue) -> bool:
        """Whether the queue exists now, if need be with other arguments."""
        if queue.name in self.mismatched:
            if broker.inspect(queue.name) is not None:
                return True
            self.mismatched.discard(queue.name)
        answer = broker.declare(queue)
        if isinstance(answer, QueueUnreachable):
            if queue.name not in self.unreachable:
                log.error("queue unreachable, its messages are lost", queue=queue.name, broker_reply=answer.reply)
            self.unreachable.add(queue.name)
            return False
        if answer.mismatch is not None:
            self.mismatched.add(queue.name)
            hint = mismatch_hint(queue.name)
            log.warning("queue arguments mismatched", queue=queue.name, broker_reply=answer.mismatch, hint=hint)
        self.unreachable.discard(queue.name)
        return True

    def _bind(self, broker: TopologyBroker, bindings: list[Binding]) -> None:
        for batch in _batches(bindings):
            requested_at = self._clock()
            broker.bind(batch)
            for binding in batch:
                self._bound[binding] = requested_at
                self._by_queue.setdefault(binding.queue, set()).add(binding)


def mismatch_hint(queue: str) -> str:
    return f"its arguments differ from the settings; to apply them: rabbitmqctl delete_queue {queue} once it is read"


def _batches(bindings: list[Binding]) -> Iterator[list[Binding]]:
    for start in range(0, len(bindings), _BATCH):
        yield bindings[start : start + _BATCH]
