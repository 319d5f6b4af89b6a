"""The queues and bindings that should be on the broker."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from common import settings, topology
from common.topology import Binding, Queue


@dataclass(frozen=True, slots=True)
class Unused:
    """A service queue without a subscription, and when the last one ended."""

    name: str
    since: datetime


@dataclass(frozen=True)
class Plan:
    """What should exist. `unbound` are bindings that should not: those of subscriptions that ended."""

    queues: tuple[Queue, ...] = ()
    bindings: frozenset[Binding] = frozenset()
    unbound: frozenset[Binding] = frozenset()
    unused: frozenset[Unused] = frozenset()

    def queues_of(self, routing_key: str) -> frozenset[str]:
        """The queues that are bound with this key."""
        return frozenset(self._queues_by_key.get(routing_key, ()))

    @cached_property
    def _queues_by_key(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for binding in self.bindings:
            found.setdefault(binding.routing_key, []).append(binding.queue)
        return found


def common_plan(classes: tuple[str, ...], retention: settings.Retention, market_type: str) -> Plan:
    """What exists without any subscription: the class queues, the persister's queue, and the dead-letter queue."""
    return Plan(
        queues=(
            *topology.class_queues(classes, retention, market_type),
            topology.balance_queue(),
            topology.dead_queue(),
        ),
        bindings=frozenset(
            {
                *topology.class_bindings(classes),
                topology.balance_binding(),
                Binding(topology.DEAD, topology.DEAD, ""),
            }
        ),
    )
