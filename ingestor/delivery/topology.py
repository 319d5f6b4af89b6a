"""The thread that declares exchanges, queues and bindings on the broker, and inspects the queues."""

import threading
import time
from collections.abc import Callable

from common import amqp, settings
from common.backoff import Backoff
from common.errors import Unavailable, reported_as
from common.retrying import keep_trying
from ingestor.delivery.amqp_topology import connect as amqp_connect
from ingestor.delivery.declarations import Declarations, TopologyBroker
from ingestor.delivery.plan import Plan
from ingestor.delivery.queue_inspection import QueueInspection
from ingestor.delivery.queue_monitor import Depth, QueueMonitor, Traffic
from ingestor.delivery.topology_requests import TopologyRequest, TopologyRequests

_LISTEN_S = 0.25
_LISTEN_BUSY_S = 0.001  # while a round of inspections is under way


class Topology:
    """Owns one connection to the broker; everything on it happens in this thread."""

    name = "topology"

    def __init__(
        self,
        rabbitmq: settings.RabbitMQ,
        common: Plan,
        traffic: Traffic,
        connect: Callable[[settings.RabbitMQ], TopologyBroker] = amqp_connect,
        listen_s: float = _LISTEN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rabbitmq = rabbitmq
        self._common = common
        self._connect = connect
        self._listen_s = listen_s
        self._clock = clock
        self._requests = TopologyRequests(clock)
        self._unmet: list[TopologyRequest] = []
        self._monitor = QueueMonitor(traffic)
        self._declarations = Declarations(clock)
        self._inspection = QueueInspection(self._monitor, self._declarations)
        self._adopt(Plan())

    # -- from other threads ---------------------------------------------------------------------------------

    def make(self, plan: Plan, within_s: float) -> bool:
        """Bring the broker in line with the plan; whether that was done in time. It replaces one that still waits.

        One thread calls this.
        """
        return self._requests.plan(plan).finished.wait(within_s)

    def remake(self, requester: str, done: Callable[[], None]) -> None:
        """Declare everything again and then call `done` in this object's thread.

        A later request of the same requester replaces one that still waits, whose `done` is never called.
        """
        self._requests.remake(requester, done)

    def needs(self, routing_key: str) -> bool:
        """Whether a queue of a service should receive messages with this key, and can."""
        return any(name not in self._declarations.unreachable for name in self._plan.queues_of(routing_key))

    @property
    def depths(self) -> dict[str, Depth]:
        """Each queue as it was inspected last."""
        return self._monitor.by_name

    @property
    def mismatched(self) -> tuple[str, ...]:
        """The queues that exist with other arguments than those of the settings."""
        return tuple(sorted(self._declarations.mismatched))

    # -- the thread -----------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._serve(stop, backoff), stop, "rabbitmq", Backoff(0.2, 5.0))

    def step(self, broker: TopologyBroker) -> None:
        """Meet all requests that wait, by the newest plan; without any, inspect some queues."""
        if not self._unmet:
            self._unmet = self._requests.take(_LISTEN_BUSY_S if self._inspection.busy else self._listen_s)
        if not self._unmet:
            self._inspect(broker)
            broker.process_events()
            return
        self._meet(broker, self._unmet)
        finished, self._unmet = self._unmet, []
        for request in finished:
            request.finish()

    def _serve(self, stop: threading.Event, backoff: Backoff) -> None:
        broker = self._connect(self._rabbitmq)
        try:
            with reported_as(Unavailable, *amqp.AWAY):
                self._declarations.forget_before()
                self._apply(broker)
                backoff.reset()
                while not stop.is_set():
                    self.step(broker)
        finally:
            broker.close()

    def _meet(self, broker: TopologyBroker, requests: list[TopologyRequest]) -> None:
        for request in requests:
            if request.plan is not None:
                self._adopt(request.plan)
        if remakes := [request.requested_at for request in requests if request.plan is None]:
            self._declarations.forget_before(max(remakes))
        self._apply(broker)

    def _adopt(self, plan: Plan) -> None:
        self._plan = plan
        self._inspection.adopt((*self._common.queues, *plan.queues), plan.unused)

    def _apply(self, broker: TopologyBroker) -> None:
        queues = (*self._common.queues, *self._plan.queues)
        self._declarations.apply(broker, queues, self._common.bindings | self._plan.bindings)
        self._declarations.unbind(broker, self._plan.unbound)

    def _inspect(self, broker: TopologyBroker) -> None:
        if self._inspection.inspect_some(broker, self._clock()):
            self._declarations.rebind_some(broker)
            if self._inspection.missing:
                self._apply(broker)
