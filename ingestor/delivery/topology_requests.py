"""Requests of other threads to the topology's thread."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ingestor.delivery.plan import Plan


@dataclass(slots=True)
class TopologyRequest:
    """A new plan, or without one: declare everything that was declared before `requested_at` (monotonic) again."""

    done: Callable[[], None]
    plan: Plan | None
    requested_at: float
    finished: threading.Event = field(default_factory=threading.Event)

    def finish(self) -> None:
        self.finished.set()
        self.done()


class TopologyRequests:
    """Holds the newest plan and the newest remake of each requester: that bounds it, and older ones have no effect.

    A request that is replaced never finishes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrival = threading.Condition()
        self._plan: TopologyRequest | None = None
        self._remakes: dict[str, TopologyRequest] = {}

    def plan(self, plan: Plan) -> TopologyRequest:
        request = TopologyRequest(lambda: None, plan, self._clock())
        with self._arrival:
            self._plan = request
            self._arrival.notify()
        return request

    def remake(self, requester: str, done: Callable[[], None]) -> None:
        with self._arrival:
            self._remakes[requester] = TopologyRequest(done, None, self._clock())
            self._arrival.notify()

    def take(self, within_s: float) -> list[TopologyRequest]:
        """All that wait, the plan first, as soon as there is one; empty after `within_s`."""
        with self._arrival:
            self._arrival.wait_for(lambda: self._plan is not None or self._remakes, timeout=within_s)
            taken = [*([self._plan] if self._plan else []), *self._remakes.values()]
            self._plan = None
            self._remakes = {}
        return taken
