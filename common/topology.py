"""Names, arguments and bindings on RabbitMQ (docs/events.md)."""

import re
from dataclasses import dataclass, field
from typing import Any

from common.channels import CHANNEL_TYPES, PRIVATE_CLASSES, Channel
from common.settings import Retention

EVENTS = "ws-gateway.events"  # topic
CONTROL = "ws-gateway.control"  # direct
DEAD = "ws-gateway.dead"  # fanout, and the queue bound to it
NOTIFY = "poke"  # routing key of notifications
PERSISTER = "persister"  # the service name that the gateway uses itself
BALANCE_QUEUE = "ws-gateway.balance.persister"
SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_GIB = 2**30
_DAY_MS = 24 * 3600 * 1000
NEVER_DELETED = 1_000_000  # x-delivery-limit: -1 deletes on the first return on 3.10, and unset means 20 on 4.x


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    arguments: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Binding:
    queue: str
    exchange: str
    routing_key: str


def class_queue(event_class: str) -> str:
    return f"ws-gateway.{event_class}"


def service_queue(event_class: str, service: str) -> str:
    return f"ws-gateway.{event_class}.{service}"


def control_queue(epoch: str) -> str:
    return f"ws-gateway.control.{epoch}"


def class_queues(names: tuple[str, ...], retention: Retention, market_type: str) -> list[Queue]:
    """The shared queue of each event class, for tools and single consumers."""
    return [Queue(class_queue(name), event_arguments(name, retention, market_type)) for name in names]


def class_bindings(names: tuple[str, ...]) -> list[Binding]:
    return [Binding(class_queue(name), EVENTS, key) for name in names for key in (f"{name}.#", f"gap.{name}.#")]


def queue_of(channel: Channel, service: str, retention: Retention, market_type: str) -> Queue:
    """The service's own queue for the event class of this channel."""
    arguments = event_arguments(channel.channel_type, retention, market_type) | {"x-single-active-consumer": True}
    if channel.channel_type in PRIVATE_CLASSES:
        arguments["x-dead-letter-exchange"] = DEAD
    return Queue(service_queue(channel.channel_type, service), arguments)


def bindings_of(channel: Channel, service: str) -> list[Binding]:
    name = service_queue(channel.channel_type, service)
    return [Binding(name, EVENTS, key) for key in (channel.routing_key, channel.gap_key)]


def balance_queue() -> Queue:
    """The queue of the persister, without any limit, because no balance may be lost."""
    return Queue(
        BALANCE_QUEUE,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": NEVER_DELETED,
            "x-single-active-consumer": True,
            "x-dead-letter-exchange": DEAD,
        },
    )


def balance_binding() -> Binding:
    return Binding(BALANCE_QUEUE, EVENTS, "balance.#")


def dead_queue() -> Queue:
    return Queue(DEAD, {"x-message-ttl": 7 * _DAY_MS, "x-max-length": 100_000, "x-overflow": "drop-head"})


def event_arguments(event_class: str, retention: Retention, market_type: str) -> dict[str, Any]:
    limits = {
        "x-message-ttl": retention.hours * 3600 * 1000,
        "x-max-length": retention.messages,
        "x-max-length-bytes": _GIB,
        "x-overflow": "drop-head",
    }
    if event_class in PRIVATE_CLASSES or market_type == "quorum":
        return limits | {"x-queue-type": "quorum", "x-delivery-limit": NEVER_DELETED}
    return limits | {"x-queue-type": "classic", "x-queue-version": 2}


def classes(setting: str) -> tuple[str, ...]:
    """Event classes from `all`, `none` or a comma-separated list; raises ValueError for anything else."""
    if setting in ("all", "none"):
        return CHANNEL_TYPES if setting == "all" else ()
    names = tuple(name.strip() for name in setting.split(","))
    if not set(names) <= set(CHANNEL_TYPES):
        raise ValueError(setting)
    return names
