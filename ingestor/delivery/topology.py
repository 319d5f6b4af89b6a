"""The exchanges, queues and bindings on the broker: made, and looked after."""

import threading
import time
from collections.abc import Callable, Iterator
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
from ingestor.delivery.plan import Plan, Unused
from ingestor.delivery.queue_alarms import FINE, Alarm, Level
from ingestor.delivery.queue_monitor import Depth, QueueMonitor, Traffic

log = structlog.get_logger(__name__)

LOOKED_AFTER_EVERY_S = 5.0
KEPT_UNUSED = timedelta(hours=24)
_LISTEN_S = 0.25
_NOT_FOUND = 404
_OTHER_ARGUMENTS = 406
_BOUND_AGAIN = 25  # after each round of looks, all of them in turn
_LOOKED_AT_ONCE = 100  # queues, before orders have their turn
_BOUND_AT_ONCE = 1_000  # bindings, before we wait for the broker
_CHANNELS = 32  # RabbitMQ syncs its disk for each binding, and for those of several channels together


@dataclass(slots=True)
class Order:
    """One thing to do for somebody who may be waiting."""

    done: Callable[[], None]
    plan: Plan | None = None
    made: threading.Event = field(default_factory=threading.Event)
    put_at: float = field(default_factory=time.monotonic)


class Topology:
    """Owns one connection to the broker; everything on it happens in this thread."""

    name = "queues"

    def __init__(self, rabbitmq: settings.RabbitMQ, common: Plan, traffic: Traffic) -> None:
        self._rabbitmq = rabbitmq
        self._common = common
        self._plan = Plan()
        self._plans: Queued[Order] = Queued(1)  # only the newest counts
        self._remakes: SimpleQueue[Order] = SimpleQueue()  # one per lane at most: each waits for its own
        self._channel: Any = None
        self._more_channels: list[Any] = []  # for many bindings at once
        self._declared: set[str] = set()
        self._bound: dict[Binding, float] = {}  # and when the broker was asked for it
        self._bound_to: dict[str, set[Binding]] = {}  # the same, of each queue
        self._unbound: set[Binding] = set()
        self._retired: set[str] = set()  # unused ones that are gone
        self._as_they_are: set[str] = set()  # queues that exist with other arguments
        self._out_of_reach: set[str] = set()  # classic queues whose node of a cluster is down
        self._to_bind_again: list[Binding] = []
        self._unmet: list[Order] = []
        self._look_at_from = 0.0
        self._arguments = {queue.name: queue.arguments for queue in common.queues}  # of all that should be there
        self._unused: dict[str, Unused] = {}
        self._to_look_at: list[str] = []  # what is left of this round
        self._looked_at: dict[str, Depth] = {}
        self._missing = False  # one that should be there is not
        self._depths = QueueMonitor(traffic)

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
        return any(name not in self._out_of_reach for name in self._plan.queues_of(routing_key))

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
                self._more_channels = []
                self._open_channel(connection)
                self._make_all(connection)
                backoff.reset()
                while not stop.is_set():
                    self._next_order(connection)
        finally:
            self._close(connection)

    def _next_order(self, connection: Any) -> None:
        """All orders that wait are met at once, by the newest plan."""
        orders = self._unmet = self._unmet or self._taken()
        if not orders:
            self._look_after(connection)
            connection.process_data_events(0)
            return
        for order in orders:
            if order.plan is not None:
                self._adopt(order.plan)
        if remakes := [order.put_at for order in orders if order.plan is None]:
            self._forget_all(before=max(remakes))
        self._make_all(connection)
        self._unmet = []
        for order in orders:
            order.made.set()
            order.done()

    def _adopt(self, plan: Plan) -> None:
        self._plan = plan
        self._arguments = {queue.name: queue.arguments for queue in (*self._common.queues, *plan.queues)}
        self._unused = {unused.name: unused for unused in plan.unused if unused.name not in self._arguments}

    def _taken(self) -> list[Order]:
        """The newest plan first: who waits for a remake publishes as soon as that is done."""
        taken: list[Order] = []
        busy = bool(self._to_look_at) or not self._remakes.empty()
        with suppress(Empty):
            taken.append(self._plans.get(timeout=0.001 if busy else _LISTEN_S))
        with suppress(Empty):
            while True:
                taken.append(self._remakes.get_nowait())
        return taken

    def _make_all(self, connection: Any) -> None:
        self._make_exchanges()
        for queue in (*self._common.queues, *self._plan.queues):
            if queue.name not in self._declared and self._declare(connection, queue):
                self._declared.add(queue.name)
                self._retired.discard(queue.name)
        self._bind(connection, [each for each in self._wanted() - self._bound.keys() if each.queue in self._declared])
        self._unbind(connection, list(self._plan.unbound - self._unbound))
        self._unbound &= self._plan.unbound

    def _bind(self, connection: Any, bindings: list[Binding]) -> None:
        for batch in _batches(bindings):
            asked_at = time.monotonic()
            self._spread(connection, batch, lambda channel: channel.queue_bind)
            for binding in batch:
                self._bound[binding] = asked_at
                self._bound_to.setdefault(binding.queue, set()).add(binding)
                self._unbound.discard(binding)

    def _unbind(self, connection: Any, bindings: list[Binding]) -> None:
        """A binding that is not there is no error."""
        for batch in _batches(bindings):
            self._spread(connection, batch, lambda channel: channel.queue_unbind)
            for binding in batch:
                self._bound.pop(binding, None)
                self._bound_to.get(binding.queue, set()).discard(binding)
                self._unbound.add(binding)

    def _spread(self, connection: Any, batch: list[Binding], method_of: Callable[[Any], Callable[..., Any]]) -> None:
        """Each channel does one after the other; when it answers what it was asked last, all is done."""
        channels = self._channels(connection, len(batch))
        for number, binding in enumerate(batch):
            below = channels[number % len(channels)]._impl  # pika's blocking channel would wait for each answer
            method_of(below)(binding.queue, binding.exchange, binding.routing_key)
        for channel in channels:
            channel.exchange_declare(topology.EVENTS, "topic", durable=True)

    def _channels(self, connection: Any, wanted: int) -> list[Any]:
        self._more_channels = [channel for channel in self._more_channels if channel.is_open]
        while 1 + len(self._more_channels) < min(wanted, _CHANNELS):
            self._more_channels.append(connection.channel())
        return [self._channel, *self._more_channels][:wanted]

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

    def _look_after(self, connection: Any) -> None:
        """How deep each queue is, some queues at a time; one that somebody deleted comes back."""
        if not self._to_look_at:
            if time.monotonic() < self._look_at_from:
                return
            self._look_at_from = time.monotonic() + LOOKED_AFTER_EVERY_S
            self._to_look_at = [*self._arguments, *(name for name in self._unused if name not in self._retired)]
            self._looked_at = {}
        batch, self._to_look_at = self._to_look_at[:_LOOKED_AT_ONCE], self._to_look_at[_LOOKED_AT_ONCE:]
        for name in batch:
            self._look_after_one(connection, name)
        if not self._to_look_at:
            self._end_round(connection)

    def _look_after_one(self, connection: Any, name: str) -> None:
        if name in self._arguments:
            depth = self._look_at(connection, name)
            if depth is None:
                if name not in self._out_of_reach:
                    log.warning("queue was deleted; making it again", queue=name)
                self._forget(name)
                self._missing = True
            else:
                self._tell_alarm(depth)
        else:
            depth = self._retire(connection, self._unused[name]) if name in self._unused else None
        if depth is not None:
            self._looked_at[name] = depth

    def _end_round(self, connection: Any) -> None:
        self._depths.by_name = self._looked_at
        self._bind_again(connection)
        if self._missing:
            self._missing = False
            self._make_all(connection)

    def _bind_again(self, connection: Any) -> None:
        """A binding removed by hand cannot be seen over AMQP; made again it is there, and one that is there stays."""
        if not self._to_bind_again:
            self._to_bind_again = list(self._bound)
        batch, self._to_bind_again = self._to_bind_again[:_BOUND_AGAIN], self._to_bind_again[_BOUND_AGAIN:]
        self._bind(connection, [binding for binding in batch if binding in self._bound])

    def _forget(self, queue: str) -> None:
        """It has to be made again, and a new queue is bound to nothing."""
        self._declared.discard(queue)
        for binding in self._bound_to.pop(queue, set()):
            self._bound.pop(binding, None)

    def _forget_all(self, before: float = float("inf")) -> None:
        """What the broker was asked for later than that is there, and need not be asked for again."""
        self._declared.clear()
        self._bound = {binding: at for binding, at in self._bound.items() if at > before}
        self._bound_to.clear()
        for binding in self._bound:
            self._bound_to.setdefault(binding.queue, set()).add(binding)
        self._unbound.clear()

    def _look_at(self, connection: Any, name: str) -> Depth | None:
        try:
            found = self._channel.queue_declare(name, passive=True).method
        except ChannelClosedByBroker as closed:
            self._open_channel(connection)
            if closed.reply_code != _NOT_FOUND:
                raise
            return None
        keys = [binding.routing_key for binding in self._bound_to.get(name, ())]
        kept = self._arguments.get(name, {}).get("x-max-length")
        depth = self._depths.seen(name, found.message_count, found.consumer_count, keys, kept, time.monotonic())
        return replace(depth, alarm=Alarm(Level.WARNING, _hint(name))) if name in self._as_they_are else depth

    def _tell_alarm(self, depth: Depth) -> None:
        before = self.depths[depth.name].alarm.level if depth.name in self.depths else Level.OK
        if depth.alarm.level is not before:
            log_alarm(depth.name, depth.alarm, before)

    def _retire(self, connection: Any, unused: Unused) -> Depth | None:
        """Delete it a day after its last subscription ended, unless somebody still reads it."""
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


def _batches(bindings: list[Binding]) -> Iterator[list[Binding]]:
    for start in range(0, len(bindings), _BOUND_AT_ONCE):
        yield bindings[start : start + _BOUND_AT_ONCE]
