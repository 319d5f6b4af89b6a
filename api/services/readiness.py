"""Whether a service can rely on its events, and what is missing otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from api.services import diagnosis, observation
from api.services.diagnosis import BROKEN, UNKNOWN
from api.services.observation import Observation
from common.views import queues, subscription_status
from common.views.queues import QueueView
from common.views.subscription_status import SubscriptionView


@dataclass(frozen=True, slots=True)
class MissingPart:
    """`what` is subscription or queue, `name` its topic or its name."""

    what: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceReadiness:
    service: str
    missing: Sequence[MissingPart]

    @property
    def ready(self) -> bool:
        return not self.missing


def of(connection: Connection, service: str) -> ServiceReadiness:
    """A service without subscriptions is ready."""
    views = subscription_status.active_of(connection, service)
    observed = observation.observe(connection)
    measured = {queue.name: queue for queue in queues.of_service(connection, service)}
    return ServiceReadiness(service, [*_not_live(views, observed), *_without_queue(views, observed, measured)])


def _not_live(views: Sequence[SubscriptionView], observed: Observation) -> Iterator[MissingPart]:
    for view in views:
        if view.status != "live":
            yield MissingPart("subscription", view.topic, _reason(view, observed))


def _reason(view: SubscriptionView, observed: Observation) -> str:
    if view.status == "rejected":
        return f"rejected: {view.reason or 'no reason given'}"
    return diagnosis.why_pending(view, observed) or "pending"


def _without_queue(
    views: Sequence[SubscriptionView], observed: Observation, measured: Mapping[str, QueueView]
) -> Iterator[MissingPart]:
    oldest = {view.queue: view for view in reversed(views)}
    for name, view in oldest.items():
        hop = diagnosis.queue_hop(view, observed, measured.get(name))
        if hop.state in (BROKEN, UNKNOWN):
            yield MissingPart("queue", name, hop.evidence)
