"""Brings what we hold in line with what is written in Postgres, level-triggered."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Protocol

import structlog
from sqlalchemy import Engine

from common import database, logs, settings, topology
from common.channels import BadChannel, Channel, of_topic
from common.control import Poke
from common.errors import Unavailable
from common.retrying import Backoff, keep_trying
from common.tables import subscriptions
from common.tables.subscriptions import Wish
from ingestor.delivery.plan import Plan, Unused
from ingestor.intents.cache import Cache

log = structlog.get_logger(__name__)

LOOKED_AT_EVERY_S = 5.0
_MADE_WITHIN_S = 3.0
_MOST_POKES = 1000  # several are one reason to look; anybody on the broker may send them


class Queues(Protocol):
    def make(self, plan: Plan, within_s: float) -> bool: ...


class Fleet(Protocol):
    def want(self, channels: Iterable[Channel]) -> None: ...


@dataclass(frozen=True, slots=True)
class Desired:
    """The wishes of all services at one moment. `generation` is the newest change among them, ends included."""

    generation: int
    wishes: tuple[Wish, ...]
    ended: tuple[Wish, ...]
    unused: tuple[Unused, ...] = ()
    lease_ends_in_s: float | None = None  # the next one to end


class Reconciler:
    """Reads all wishes on a poke, and every five seconds; a poke that is lost, doubled or forged changes nothing."""

    name = "reconciler"

    def __init__(
        self,
        engine: Engine,
        queues: Queues,
        fleet: Fleet,
        broker_connected: Callable[[], bool],
        held: Callable[[], None],
        carried_out: Callable[[int], None],
        cache: Cache,
        retention: settings.Retention,
        market_queue_type: str,
        own: Callable[[], Sequence[Channel]],
    ) -> None:
        self._engine = engine
        self._queues = queues
        self._fleet = fleet
        self._broker_connected = broker_connected
        self._tell_held = held
        self._tell_carried_out = carried_out
        self._cache = cache
        self._retention = retention
        self._market_queue_type = market_queue_type
        self._own = own
        self._pokes: Queue[Poke] = Queue(_MOST_POKES)
        self._carried_out = 0
        self._known: dict[tuple[str, str, str], Wish] | None = None
        self._began = False

    def poke(self, poke: Poke) -> None:
        with suppress(Full):  # then there is reason enough to look
            self._pokes.put_nowait(poke)

    def run(self, stop: threading.Event) -> None:
        if not self._began:  # a second start must not give up what is held
            self._began = True
            self._start_from_cache()
        keep_trying(lambda backoff: self._reconcile_until(stop, backoff), stop, "postgres", Backoff(0.2, 5.0))

    def _reconcile_until(self, stop: threading.Event, backoff: Backoff) -> None:
        while not stop.is_set():
            with database.retriable():
                desired = self._read()
            backoff.reset()
            self._carry_out(desired)
            self._wait(stop, desired.lease_ends_in_s)

    def _wait(self, stop: threading.Event, lease_ends_in_s: float | None) -> None:
        """Until somebody pokes or a lease ends; several pokes are one reason to look."""
        within_s = LOOKED_AT_EVERY_S if lease_ends_in_s is None else min(LOOKED_AT_EVERY_S, lease_ends_in_s)
        until = time.monotonic() + within_s
        while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
            try:
                poke = self._pokes.get(timeout=min(0.25, left_s))
            except Empty:
                continue
            with logs.traced(poke.trace_id):
                log.info("poked", generation=poke.generation)
            while not self._pokes.empty():
                self._pokes.get_nowait()
            return

    def _read(self) -> Desired:
        with self._engine.begin() as connection:
            for row in subscriptions.expire(connection):
                log.info("subscription expired", service=row.requesting_service, topic=row.topic)
        with self._engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            return Desired(
                subscriptions.last_generation(connection),
                tuple(subscriptions.wishes(connection)),
                tuple(subscriptions.ended(connection, self._carried_out)),
                tuple(
                    Unused(topology.service_queue(channel_type, service), since)
                    for service, channel_type, since in subscriptions.unused(connection)
                ),
                subscriptions.next_lease_ends_in_s(connection),
            )

    def _carry_out(self, desired: Desired) -> None:
        self._tell_changes(desired.wishes)
        self._cache.keep(desired.wishes)
        made = self._queues.make(self._plan(desired), _MADE_WITHIN_S)
        if not made and self._broker_connected():
            log.warning("queues could not be made in time; nothing new is subscribed before they are")
            return
        self._fleet.want(self._channels(desired.wishes))
        if desired.generation:  # 0 is of the cached wishes
            self._tell_held()
        if made:  # while the broker is away topics are held and spooled, but their queues are not there yet
            self._carried_out = desired.generation
            self._tell_carried_out(desired.generation)

    def _plan(self, desired: Desired) -> Plan:
        """Each service's queues and bindings; what ended is unbound unless it is wanted again."""
        pairs = [(channel, wish.service) for wish in desired.wishes if (channel := _channel(wish))]
        queues = {
            queue.name: queue
            for channel, service in pairs
            for queue in [topology.queue_of(channel, service, self._retention, self._market_queue_type)]
        }
        bindings = frozenset(b for channel, service in pairs for b in topology.bindings_of(channel, service))
        ended = [(channel, wish.service) for wish in desired.ended if (channel := _channel(wish))]
        unbound = frozenset(b for channel, service in ended for b in topology.bindings_of(channel, service))
        return Plan(tuple(queues.values()), bindings, unbound - bindings, frozenset(desired.unused))

    def _channels(self, wishes: Iterable[Wish]) -> list[Channel]:
        """Each topic once, however many services want it, and our own."""
        wanted = {(channel.endpoint, channel.topic): channel for channel in self._own()}
        for wish in wishes:
            channel = _channel(wish)
            if channel is not None:
                wanted[channel.endpoint, channel.topic] = channel
        return list(wanted.values())

    def _start_from_cache(self) -> None:
        """Until Postgres answers, the last known wishes are the best guess there is."""
        self._fleet.want(self._own())
        try:
            with database.retriable():
                self._carry_out(self._read())
        except Unavailable as error:
            wishes = self._cache.last()
            log.warning("postgres is away; starting from the last known wishes", wishes=len(wishes), error=str(error))
            if wishes:
                self._carry_out(Desired(0, wishes, ()))

    def _tell_changes(self, wishes: Iterable[Wish]) -> None:
        now = {(wish.service, wish.endpoint, wish.topic): wish for wish in wishes}
        before, self._known = self._known, now
        if before is None:
            log.info("wishes read", subscriptions=len(now))
            return
        for key in now.keys() - before.keys():
            with logs.traced(now[key].trace_id):
                log.info("subscription taken up", service=key[0], endpoint=key[1], topic=key[2])
        for key in before.keys() - now.keys():
            log.info("subscription ended", service=key[0], endpoint=key[1], topic=key[2])


def _channel(wish: Wish) -> Channel | None:
    """None for a row that no release of ours would have written."""
    try:
        return of_topic(wish.endpoint, wish.topic)
    except BadChannel as error:
        log.error("subscription makes no sense and is passed over", topic=wish.topic, error=str(error))
        return None
