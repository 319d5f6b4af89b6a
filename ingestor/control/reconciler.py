"""Brings queues and connections in line with the subscriptions in Postgres, level-triggered."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Protocol

import structlog

from common import logs, settings
from common.backoff import Backoff
from common.channels import Channel
from common.errors import Unavailable
from common.notifications import Notification
from common.retrying import keep_trying
from ingestor.control.cache import SubscriptionCache
from ingestor.control.desired_state import DesiredState
from ingestor.control.subscription_reader import SubscriptionReader, SubscriptionStore
from ingestor.delivery.plan import Plan

log = structlog.get_logger(__name__)

RECONCILE_EVERY_S = 5.0
RETRY_S = 0.25  # when the queues were not declared in time
_DECLARED_WITHIN_S = 3.0
_MAX_NOTIFICATIONS = 1000  # several are one reason to reconcile; every user of the broker may send them
_LONGEST_PAUSE_S = 0.3  # after work that took as long: many subscriptions at once leave the other threads their share
_LISTEN_S = 0.25


class QueueDeclarer(Protocol):
    def make(self, plan: Plan, within_s: float) -> bool:
        """Bring the broker in line with the plan; whether that was done in time."""


class ChannelPool(Protocol):
    def want(self, channels: Iterable[Channel]) -> None:
        """Subscribe to exactly these."""


class Reconciler:
    """Reconciles after a notification and every five seconds. A lost or forged notification changes nothing."""

    name = "reconciler"

    def __init__(
        self,
        store: SubscriptionStore,
        queues: QueueDeclarer,
        pool: ChannelPool,
        broker_connected: Callable[[], bool],
        held: Callable[[], None],
        applied: Callable[[int], None],
        cache: SubscriptionCache,
        retention: settings.Retention,
        market_queue_type: str,
        own: Callable[[], Sequence[Channel]],
        every_s: float = RECONCILE_EVERY_S,
    ) -> None:
        """`held` is called when the pool has every topic, `applied` with the generation whose queues exist, too.

        `own` are the gateway's own channels.
        """
        self._queues = queues
        self._pool = pool
        self._broker_connected = broker_connected
        self._held = held
        self._applied = applied
        self._cache = cache
        self._own = own
        self._every_s = every_s
        self._notifications: Queue[Notification] = Queue(_MAX_NOTIFICATIONS)
        self._desired = DesiredState(retention, market_queue_type)
        self._reader = SubscriptionReader(store, self._desired)
        self._started = False

    def notify(self, notification: Notification) -> None:
        """From any thread; beyond a thousand that wait it is dropped, because one of them is reason enough."""
        with suppress(Full):
            self._notifications.put_nowait(notification)

    def run(self, stop: threading.Event) -> None:
        if not self._started:  # a second start must not give up what is held
            self._started = True
            self.start()
        keep_trying(lambda backoff: self._reconcile_until(stop, backoff), stop, "postgres", Backoff(0.2, 5.0))

    def start(self) -> None:
        """Until Postgres answers, the last known subscriptions are the best ones there are."""
        self._pool.want(self._own())
        try:
            self.reconcile()
        except Unavailable as error:
            desired = self._cache.last()
            log.warning("postgres unavailable, subscriptions read from cache", desired=len(desired), error=str(error))
            if desired:
                self._desired.replace(desired)
                self._apply()

    def reconcile(self) -> float:
        """Read what is new and apply it; the answer is when to do so again, in seconds. Raises Unavailable."""
        due_in_s = self._reader.read()
        if not self._apply():
            return RETRY_S
        return self._every_s if due_in_s is None else min(self._every_s, due_in_s)

    def wait(self, stop: threading.Event, within_s: float) -> None:
        """Until a notification arrives; several are one reason to reconcile."""
        until = time.monotonic() + within_s
        while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
            try:
                notification = self._notifications.get(timeout=min(_LISTEN_S, left_s))
            except Empty:
                continue
            with logs.traced(notification.trace_id):
                log.info("notification received", generation=notification.generation)
            while not self._notifications.empty():
                self._notifications.get_nowait()
            return

    def _reconcile_until(self, stop: threading.Event, backoff: Backoff) -> None:
        while not stop.is_set():
            began_at = time.monotonic()
            due_in_s = self.reconcile()
            backoff.reset()
            stop.wait(min(_LONGEST_PAUSE_S, time.monotonic() - began_at))
            self.wait(stop, due_in_s)

    def _apply(self) -> bool:
        """False when it has to be tried again soon."""
        generation = self._reader.generation
        self._cache.keep(self._desired.desired())
        declared = self._queues.make(self._desired.plan(), _DECLARED_WITHIN_S)
        if not declared and self._broker_connected():
            log.warning("queues late, new topics are not subscribed yet")
            return False
        self._pool.want(self._channels())
        if self._reader.complete:  # and not what the cache remembers
            self._held()
        if declared:  # while the broker is unavailable topics are held and spooled, but their queues do not exist yet
            self._desired.unbound()
            self._reader.applied_generation = generation
            self._applied(generation)
        return True

    def _channels(self) -> list[Channel]:
        """Each topic once, whatever the number of its subscriptions, and our own."""
        own = {(channel.endpoint, channel.topic): channel for channel in self._own()}
        return list((own | self._desired.channels()).values())
