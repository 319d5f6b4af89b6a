"""The desired state: all active subscriptions with their channels, queues and bindings, updated by each change."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog

from common import settings, topology
from common.channels import BadChannel, Channel, of_topic
from common.tables.subscriptions import Changed, DesiredSubscription
from common.topology import Binding, Queue
from ingestor.delivery.plan import Plan, Unused

log = structlog.get_logger(__name__)

_UNUSED_KEPT_FOR = timedelta(days=30)  # its queue was deleted long before
Key = tuple[str, str, str]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class _Active:
    """A subscription; `channel` is None for a row that no release of the api could have written."""

    subscription: DesiredSubscription
    channel: Channel | None
    queue: str
    bindings: tuple[Binding, ...]


class DesiredState:
    """The cost of an update is that of its changes; `plan` and `channels` copy everything.

    `unused` queues are those whose service ended its last subscription of that class.
    """

    def __init__(self, retention: settings.Retention, market_queue_type: str) -> None:
        self._retention = retention
        self._market_queue_type = market_queue_type
        self._active: dict[Key, _Active] = {}
        self._channels: dict[tuple[str, str], Channel] = {}
        self._users: Counter[tuple[str, str]] = Counter()  # subscriptions of each channel
        self._queues: dict[str, Queue] = {}
        self._bound: Counter[str] = Counter()  # subscriptions of each queue
        self._bindings: set[Binding] = set()
        self._unbound: set[Binding] = set()
        self._last_end: dict[str, datetime] = {}  # of each queue's subscriptions

    # -- changes --------------------------------------------------------------------------------------------

    def replace(self, desired: Iterable[DesiredSubscription]) -> None:
        """Exactly these are active."""
        now = {_key(subscription): subscription for subscription in desired}
        for key in [key for key in self._active if key not in now]:
            self._remove(key)
        self.add(now.values())

    def add(self, desired: Iterable[DesiredSubscription]) -> None:
        """These are active too."""
        for subscription in desired:
            self._add(subscription)

    def change(self, changed: Sequence[Changed]) -> None:
        """Each row as its last change left it, in the sequence of the changes."""
        for each in changed:
            if each.ended_at is None:
                self._add(each.subscription)
            else:
                self._end(each.subscription, each.ended_at)

    def ended(self, found: Iterable[tuple[str, str, str]]) -> None:
        """(service, endpoint, topic) of subscriptions that ended earlier and may still be bound."""
        for service, endpoint, topic in found:
            if (channel := _channel(endpoint, topic)) is not None:
                self._unbound.update(topology.bindings_of(channel, service))

    def last_ends(self, found: Iterable[tuple[str, str, datetime]]) -> None:
        """(service, channel type, end of the last subscription that ended)."""
        for service, channel_type, moment in found:
            self._last_end[topology.service_queue(channel_type, service)] = moment

    def unbound(self) -> None:
        """The broker is in line with the plan: what ended before is not bound any more."""
        self._unbound.clear()

    # -- questions ------------------------------------------------------------------------------------------

    def desired(self) -> tuple[DesiredSubscription, ...]:
        return tuple(each.subscription for each in self._active.values())

    def plan(self) -> Plan:
        return Plan(
            tuple(self._queues.values()),
            frozenset(self._bindings),
            frozenset(self._unbound - self._bindings),
            frozenset(Unused(name, since) for name, since in self._unused()),
        )

    def channels(self) -> dict[tuple[str, str], Channel]:
        """By endpoint and topic; each topic once, whatever the number of its subscriptions."""
        return dict(self._channels)

    # -- helpers --------------------------------------------------------------------------------------------

    def _unused(self) -> list[tuple[str, datetime]]:
        known_from = datetime.now(UTC) - _UNUSED_KEPT_FOR
        return [(n, end) for n, end in self._last_end.items() if n not in self._queues and end > known_from]

    def _add(self, subscription: DesiredSubscription) -> None:
        key = _key(subscription)
        if key in self._active:
            self._active[key] = replace(self._active[key], subscription=subscription)
            return
        pair = (subscription.endpoint, subscription.topic)
        channel = self._channels.get(pair) or _channel(subscription.endpoint, subscription.topic)
        if channel is None:
            self._active[key] = _Active(subscription, None, "", ())
            return
        queue = topology.queue_of(channel, subscription.service, self._retention, self._market_queue_type)
        bindings = tuple(topology.bindings_of(channel, subscription.service))
        self._active[key] = _Active(subscription, channel, queue.name, bindings)
        self._channels[pair] = channel
        self._users[pair] += 1
        self._queues.setdefault(queue.name, queue)
        self._bound[queue.name] += 1
        self._bindings.update(bindings)

    def _end(self, subscription: DesiredSubscription, moment: datetime) -> None:
        """Its bindings may be on the broker although it was never active here."""
        channel = _channel(subscription.endpoint, subscription.topic)
        if channel is not None:
            self._last_end[topology.service_queue(channel.channel_type, subscription.service)] = moment
            self._unbound.update(topology.bindings_of(channel, subscription.service))
        if _key(subscription) in self._active:
            self._remove(_key(subscription))

    def _remove(self, key: Key) -> None:
        active = self._active.pop(key)
        if active.channel is None:
            return
        self._bindings.difference_update(active.bindings)
        self._unbound.update(active.bindings)
        if _without_one(self._users, key[1:]):
            del self._channels[key[1:]]
        if _without_one(self._bound, active.queue):
            del self._queues[active.queue]


def _without_one(counted: Counter[K], key: K) -> bool:
    """Whether that was the last one."""
    counted[key] -= 1
    if counted[key]:
        return False
    del counted[key]
    return True


def _key(subscription: DesiredSubscription) -> Key:
    return subscription.service, subscription.endpoint, subscription.topic


def _channel(endpoint: str, topic: str) -> Channel | None:
    try:
        return of_topic(endpoint, topic)
    except BadChannel as error:
        log.error("subscription invalid, skipped", topic=topic, error=str(error))
        return None
