"""Brings what we hold in line with what is written in Postgres, level-triggered."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Protocol

import structlog
from sqlalchemy import Connection, Engine

from common import database, logs, settings
from common.channels import Channel
from common.errors import Unavailable
from common.notifications import Notification
from common.retrying import Backoff, keep_trying
from common.tables import ingestors, subscriptions
from common.tables.subscriptions import DesiredSubscription
from ingestor.control.cache import SubscriptionCache
from ingestor.control.desired_state import DesiredState
from ingestor.delivery.plan import Plan

log = structlog.get_logger(__name__)

LOOKED_AT_EVERY_S = 5.0
CHANGED_AT_ONCE = (
    1_000  # rows whose queues are bound before the next ones are read: the first topics do not wait for all
)
_MADE_WITHIN_S = 3.0
_MAX_NOTIFICATIONS = 1000  # several are one reason to look; anybody on the broker may send them
_AGAIN_AFTER_S = 0.25  # when the queues could not be made in time
_LONGEST_REST_S = 0.3  # after work that took as long: many subscriptions at once leave the other threads their share


class Queues(Protocol):
    def make(self, plan: Plan, within_s: float) -> bool: ...


class Pool(Protocol):
    def want(self, channels: Iterable[Channel]) -> None: ...


class Reconciler:
    """Reads what changed on a notification, and every five seconds. One that is lost or forged changes nothing.

    All active subscriptions are read at the start, and whenever Postgres was away or knows less than we do.
    """

    name = "reconciler"

    def __init__(
        self,
        engine: Engine,
        queues: Queues,
        pool: Pool,
        broker_connected: Callable[[], bool],
        held: Callable[[], None],
        carried_out: Callable[[int], None],
        cache: SubscriptionCache,
        retention: settings.Retention,
        market_queue_type: str,
        own: Callable[[], Sequence[Channel]],
    ) -> None:
        self._engine = engine
        self._queues = queues
        self._pool = pool
        self._broker_connected = broker_connected
        self._tell_held = held
        self._tell_carried_out = carried_out
        self._cache = cache
        self._own = own
        self._notifications: Queue[Notification] = Queue(_MAX_NOTIFICATIONS)
        self._desired = DesiredState(retention, market_queue_type)
        self._generation = 0  # the newest change that was read, ends included
        self._carried_out = 0
        self._complete = False  # what was read holds all that Postgres has
        self._older = 0  # the newest change of a Postgres that knows less than we do, once that was read
        self._began = False

    def notify(self, notification: Notification) -> None:
        with suppress(Full):  # then there is reason enough to look
            self._notifications.put_nowait(notification)

    def run(self, stop: threading.Event) -> None:
        if not self._began:  # a second start must not give up what is held
            self._began = True
            self._start_from_cache()
        keep_trying(lambda backoff: self._reconcile_until(stop, backoff), stop, "postgres", Backoff(0.2, 5.0))

    def _reconcile_until(self, stop: threading.Event, backoff: Backoff) -> None:
        while not stop.is_set():
            began_at = time.monotonic()
            try:
                with database.retriable():
                    lease_ends_in_s = self._read()
            except Unavailable:
                self._complete = False  # another server may answer next time
                raise
            backoff.reset()
            carried_out = self._carry_out()
            stop.wait(min(_LONGEST_REST_S, time.monotonic() - began_at))
            self._wait(stop, lease_ends_in_s if carried_out else _AGAIN_AFTER_S)

    def _wait(self, stop: threading.Event, at_most_s: float | None) -> None:
        """Until a notification comes or a lease ends; several notifications are one reason to look."""
        within_s = LOOKED_AT_EVERY_S if at_most_s is None else min(LOOKED_AT_EVERY_S, at_most_s)
        until = time.monotonic() + within_s
        while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
            try:
                notification = self._notifications.get(timeout=min(0.25, left_s))
            except Empty:
                continue
            with logs.traced(notification.trace_id):
                log.info("notified", generation=notification.generation)
            while not self._notifications.empty():
                self._notifications.get_nowait()
            return

    def _read(self) -> float | None:
        """Brings the desired state up to date; when the next lease ends."""
        with self._engine.begin() as connection:
            for row in subscriptions.expire(connection):
                log.info("subscription expired", service=row.requesting_service, topic=row.topic)
        with self._engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            newest = subscriptions.last_generation(connection)
            if self._complete and newest >= self._generation:
                take_up = self._read_changes(connection, newest)
            elif not self._complete or newest != self._older:
                take_up = self._read_all(connection, newest)
            else:
                take_up = _nothing
            lease_ends_in_s = subscriptions.next_lease_ends_in_s(connection)
        take_up()  # outside of the transaction, which may not idle for long
        return lease_ends_in_s if self._generation >= newest else 0.0

    def _read_changes(self, connection: Connection, newest: int) -> Callable[[], None]:
        changed = subscriptions.changed(connection, self._generation, CHANGED_AT_ONCE)

        def take_up() -> None:
            self._desired.change(changed)
            for each in changed:
                _log_change("subscription ended" if each.ended_at else "subscription taken up", each.subscription)
            more = len(changed) == CHANGED_AT_ONCE
            self._generation = changed[-1].subscription.generation if more else newest

        return take_up

    def _read_all(self, connection: Connection, newest: int) -> Callable[[], None]:
        """What ended before the last life of the ingestor stopped, that one has unbound."""
        if newest < self._generation:
            return self._read_older(connection, newest)
        desired, unused = subscriptions.active(connection), subscriptions.unused(connection)
        carried_out = self._carried_out or ingestors.carried_out(connection)
        ended = subscriptions.ended(connection, carried_out) if carried_out else []  # 0: nobody ever bound anything

        def take_up() -> None:
            self._desired.ended(ended)
            self._desired.last_ends(unused)
            self._desired.replace(desired)
            self._generation, self._complete = newest, True
            log.info("subscriptions read", subscriptions=len(desired))

        return take_up

    def _read_older(self, connection: Connection, newest: int) -> Callable[[], None]:
        """A restored backup, or a standby that had lagged: that a row is missing does not say that it ended."""
        desired = subscriptions.active(connection)
        subscriptions.continue_above(connection, self._generation)  # or later changes would look like known ones

        def take_up() -> None:
            self._desired.add(desired)
            self._older, self._complete = newest, True
            log.warning(
                "postgres knows less than before; what is subscribed stays", newest=newest, known=self._generation
            )

        return take_up

    def _carry_out(self) -> bool:
        """False when it has to be tried again soon."""
        self._cache.keep(self._desired.desired())
        made = self._queues.make(self._desired.plan(), _MADE_WITHIN_S)
        if not made and self._broker_connected():
            log.warning("queues could not be made in time; nothing new is subscribed before they are")
            return False
        self._pool.want(self._channels())
        if self._complete:  # and not what the cache remembers
            self._tell_held()
        if made:  # while the broker is away topics are held and spooled, but their queues are not there yet
            self._desired.unbound()
            self._carried_out = self._generation
            self._tell_carried_out(self._generation)
        return True

    def _channels(self) -> list[Channel]:
        """Each topic once, however many services want it, and our own."""
        own = {(channel.endpoint, channel.topic): channel for channel in self._own()}
        return list((own | self._desired.channels()).values())

    def _start_from_cache(self) -> None:
        """Until Postgres answers, the last known subscriptions are the best guess there is."""
        self._pool.want(self._own())
        try:
            with database.retriable():
                self._read()
            self._carry_out()
        except Unavailable as error:
            desired = self._cache.last()
            log.warning(
                "postgres is away; starting from the last known subscriptions", desired=len(desired), error=str(error)
            )
            if desired:
                self._desired.replace(desired)
                self._carry_out()


def _nothing() -> None:
    """There is nothing new."""


def _log_change(what: str, subscription: DesiredSubscription) -> None:
    with logs.traced(subscription.trace_id):
        log.info(what, service=subscription.service, endpoint=subscription.endpoint, topic=subscription.topic)
