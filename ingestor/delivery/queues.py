"""The exchanges, queues and bindings on the broker: made, and looked after."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from queue import Queue as Queued
from typing import Any

import structlog
from pika.exceptions import ChannelClosedByBroker

from common import amqp, settings, topology
from common.errors import Unavailable, reported_as
from common.retrying import Backoff, keep_trying
from common.topology import Binding, Queue
from ingestor.delivery.depths import Depth, Depths, Traffic
from ingestor.delivery.plan import Plan, Unused
from ingestor.delivery.watch import FINE, Alarm, Level

log = structlog.get_logger(__name__)

LOOKED_AFTER_EVERY_S = 5.0
KEPT_UNUSED = timedelta(hours=24)
_LISTEN_S = 0.25
_NOT_FOUND = 404
_OTHER_ARGUMENTS = 406
_BOUND_AGAIN = 25  # at each look, all of them in turn: each takes the thread 0.3 ms


@dataclass(slots=True)
class Order:
    """One thing to do for somebody who may be waiting."""

    done: Callable[[], None]
    plan: Plan | None = None
    made: threading.Event = field(default_factory=threading.Event)


class Queues:
    """Owns one connection to the broker; everything on it happens in this thread."""

    name = "queues"

    def __init__(self, rabbitmq: settings.RabbitMQ, common: Plan, traffic: Traffic) -> None:
        self._rabbitmq = rabbitmq
        self._common = common
        self._plan = Plan()
        self._plans: Queued[Order] = Queued(1)  # only the newest counts
        self._remakes: SimpleQueue[Order] = SimpleQueue()  # one per lane at most: each waits for its own
        self._channel: Any = None
        self._declared: set[str] = set()
        self._bound: set[Binding] = set()
        self._unbound: set[Binding] = set()
        self._retired: set[str] = set()  # unused ones that are gone
        self._as_they_are: set[str] = set()  # queues that exist with other arguments
        self._out_of_reach: set[str] = set()  # classic queues whose node of a cluster is down
        self._bound_again_to: tuple[str, str] = ("", "")
        self._unmet: Order | None = None
        self._look_at_from = 0.0
        self._depths = Depths(traffic)

    # -- from other threads ---------------------------------------------------------------------------------

    def make(self, plan: Plan, within_s: float) -> bool:
        """Make it so; whether it was done in time. One thread calls this; a plan replaces one that still waits."""
        order = Order(lambda: None, plan)
        with suppress(Empty):
            self._plans.get_nowait()
        self._plans.put(order)
        return order.made.wait(within_s)

    def remake(self, done: Callable[[], None]) -> None:
        """Make all of it anew, and call `done` from this room's thread once it is there."""
        self._remakes.put(Order(done))

    def wants(self, routing_key: str) -> bool:
        """Whether one of the services' queues should have had this."""
        return any(
            binding.routing_key == routing_key and binding.queue not in self._out_of_reach
            for binding in self._plan.bindings
        )

    @property
    def depths(self) -> dict[str, Depth]:
        """The last look at each queue."""
        return self._depths.by_name

    @property
    def mismatched(self) -> tuple[str, ...]:
        return tuple(sorted(self._as_they_are))

    # -- the thread -----------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._serve(stop, backoff), stop, "rabbitmq", Backoff(0.2, 5.0))

    def _serve(self, stop: threading.Event, backoff: Backoff) -> None:
        connection = amqp.connect(self._rabbitmq, "ws-gateway ingestor queues")
        try:
            with reported_as(Unavailable, *amqp.AWAY):
                self._forget_all()
                self._open_channel(connection)
                self._make_all(connection)
                backoff.reset()
                while not stop.is_set():
                    self._next_order(connection)
        finally:
            self._close(connection)

    def _next_order(self, connection: Any) -> None:
        order = self._unmet or self._taken()
        self._unmet = order
        if order is None:
            if time.monotonic() >= self._look_at_from:
                self._look_at_from = time.monotonic() + LOOKED_AFTER_EVERY_S
                self._look_after(connection)
            connection.process_data_events(0)
            return
        if order.plan is not None:
            self._plan = order.plan
        else:
            self._forget_all()
        self._make_all(connection)
        self._unmet = None
        order.made.set()
        order.done()

    def _taken(self) -> Order | None:
        with suppress(Empty):  # the plan first: who waits for a remake publishes as soon as it is done
            return self._plans.get_nowait()
        with suppress(Empty):
            return self._remakes.get_nowait()
        with suppress(Empty):
            return self._plans.get(timeout=_LISTEN_S)
        return None

    def _make_all(self, connection: Any) -> None:
        self._make_exchanges()
        for queue in (*self._common.queues, *self._plan.queues):
            if queue.name not in self._declared and self._declare(connection, queue):
                self._declared.add(queue.name)
                self._retired.discard(queue.name)
        wanted = {binding for binding in self._wanted() if binding.queue in self._declared}
        for binding in sorted(wanted - self._bound, key=_order):
            self._channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
            self._bound.add(binding)
            self._unbound.discard(binding)
        for binding in sorted(self._plan.unbound - self._unbound, key=_order):
            self._unbind(connection, binding)

    def _wanted(self) -> frozenset[Binding]:
        return self._common.bindings | self._plan.bindings

    def _make_exchanges(self) -> None:
        self._channel.exchange_declare(topology.EVENTS, "topic", durable=True)
        self._channel.exchange_declare(topology.CONTROL, "direct", durable=True)
        self._channel.exchange_declare(topology.DEAD, "fanout", durable=True)

    def _declare(self, connection: Any, queue: Queue) -> bool:
        """Make the queue if it is missing; whether it is there, be it with other arguments."""
        if queue.name in self._as_they_are:
            if self._look_at(connection, queue.name):
                return True
            self._as_they_are.discard(queue.name)
        try:
            self._channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        except ChannelClosedByBroker as closed:
            self._open_channel(connection)
            return self._as_it_is(queue.name, closed)
        self._out_of_reach.discard(queue.name)
        return True

    def _as_it_is(self, name: str, closed: ChannelClosedByBroker) -> bool:
        if closed.reply_code == _OTHER_ARGUMENTS:
            self._as_they_are.add(name)
            log.warning(
                "queue exists with other arguments", queue=name, broker_says=closed.reply_text, hint=_hint(name)
            )
            return True
        if closed.reply_code != _NOT_FOUND:
            raise closed
        if name not in self._out_of_reach:  # 404 to a declare: it exists, on a node that is down
            log.error("queue is out of reach; what comes for it is lost", queue=name, broker_says=closed.reply_text)
        self._out_of_reach.add(name)
        return False

    def _unbind(self, connection: Any, binding: Binding) -> None:
        try:
            self._channel.queue_unbind(binding.queue, binding.exchange, binding.routing_key)
        except ChannelClosedByBroker as closed:
            self._open_channel(connection)
            if closed.reply_code != _NOT_FOUND:
                raise
        self._bound.discard(binding)
        self._unbound.add(binding)

    def _look_after(self, connection: Any) -> None:
        """How deep each queue is; one that somebody deleted comes back."""
        seen: dict[str, Depth] = {}
        for queue in (*self._common.queues, *self._plan.queues):
            depth = self._look_at(connection, queue.name)
            if depth is None:
                if queue.name not in self._out_of_reach:
                    log.warning("queue was deleted; making it again", queue=queue.name)
                self._forget(queue.name)
            else:
                seen[queue.name] = depth
        self._tell_alarms(seen)
        wanted = len(seen)
        for unused in self._plan.unused:
            if unused.name not in seen and (depth := self._retire(connection, unused)) is not None:
                seen[unused.name] = depth
        self._depths.by_name = seen
        self._bind_again()
        if wanted < len(self._common.queues) + len(self._plan.queues):
            self._make_all(connection)

    def _bind_again(self) -> None:
        """A binding removed by hand cannot be seen over AMQP; made again it is there, and one that is there stays."""
        after = sorted((binding for binding in self._bound if _order(binding) > self._bound_again_to), key=_order)
        for binding in after[:_BOUND_AGAIN]:
            self._channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
        self._bound_again_to = _order(after[_BOUND_AGAIN - 1]) if len(after) > _BOUND_AGAIN else ("", "")

    def _forget(self, queue: str) -> None:
        """It has to be made again, and a new queue is bound to nothing."""
        self._declared.discard(queue)
        self._bound = {binding for binding in self._bound if binding.queue != queue}

    def _forget_all(self) -> None:
        self._declared.clear()
        self._bound.clear()
        self._unbound.clear()

    def _look_at(self, connection: Any, name: str) -> Depth | None:
        try:
            found = self._channel.queue_declare(name, passive=True).method
        except ChannelClosedByBroker as closed:
            self._open_channel(connection)
            if closed.reply_code != _NOT_FOUND:
                raise
            return None
        keys = [binding.routing_key for binding in self._bound if binding.queue == name]
        kept = self._arguments_of(name).get("x-max-length")
        depth = self._depths.seen(name, found.message_count, found.consumer_count, keys, kept, time.monotonic())
        return replace(depth, alarm=Alarm(Level.WARNING, _hint(name))) if name in self._as_they_are else depth

    def _arguments_of(self, name: str) -> dict[str, Any]:
        queues = (*self._common.queues, *self._plan.queues)
        return next((queue.arguments for queue in queues if queue.name == name), {})

    def _tell_alarms(self, seen: dict[str, Depth]) -> None:
        for name, depth in seen.items():
            before = self.depths[name].alarm.level if name in self.depths else Level.OK
            if depth.alarm.level is not before:
                log_alarm(name, depth.alarm, before)

    def _retire(self, connection: Any, unused: Unused) -> Depth | None:
        """Delete it a day after its last subscription ended, unless somebody still reads it."""
        if unused.name in self._retired:
            return None
        depth = self._look_at(connection, unused.name)
        overdue = datetime.now(UTC) - unused.since >= KEPT_UNUSED
        if depth is not None and not (overdue and depth.consumers == 0):
            return replace(depth, unused_since=unused.since, alarm=FINE)
        if depth is not None:
            self._channel.queue_delete(unused.name)
            log.info(
                "unused queue deleted", queue=unused.name, unused_since=unused.since.isoformat(), ready=depth.ready
            )
        self._forget(unused.name)
        self._retired.add(unused.name)
        return None

    def _open_channel(self, connection: Any) -> None:
        self._channel = connection.channel()

    def _close(self, connection: Any) -> None:
        try:
            connection.close()
        except amqp.AWAY:
            log.debug("connection was closed already")


def log_alarm(queue: str, alarm: Alarm, before: Level) -> None:
    """One line for a queue whose alarm has changed."""
    write = {Level.OK: log.info, Level.WARNING: log.warning, Level.CRITICAL: log.error}[alarm.level]
    write("queue alarm", queue=queue, alarm=str(alarm.level), reason=alarm.reason, was=str(before))


def _hint(name: str) -> str:
    return (
        f"it has other arguments than the settings say; to change that: rabbitmqctl delete_queue {name} once it is read"
    )


def _order(binding: Binding) -> tuple[str, str]:
    return binding.queue, binding.routing_key
