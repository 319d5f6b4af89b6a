"""What callers send and what they are sent back."""

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from api.http.validation import faults_of
from common import topology
from common.channels import CHANNEL_TYPES, INTERVALS, RAW_CATEGORIES, BadChannel, Channel, Fault, Request, resolve

MOST_LIMIT = 1000
LONGEST_LEASE_S = 30 * 24 * 3600
_WHOLE = re.compile(r"-?[0-9]{1,20}")

_SHORT = StringConstraints(min_length=1, max_length=255)
_FIT = r"^[^\s\u0000-\u001f\u007f-\u009f]+$"


def _one_of(names: Sequence[str]) -> WithJsonSchema:
    """For the description; whoever asks for another one is told more than that it is none of these."""
    return WithJsonSchema({"type": "string", "enum": list(names)})


Text = Annotated[
    StrictStr, _SHORT, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": _FIT})
]
ServiceName = Annotated[
    StrictStr,
    Field(
        description="who asks; names the queue",
        max_length=255,
        json_schema_extra={"pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
    ),
]
ChannelType = Annotated[StrictStr, _SHORT, _one_of(CHANNEL_TYPES)]
Category = Annotated[StrictStr, _SHORT, _one_of(RAW_CATEGORIES)]
_MINUTES = [int(interval) for interval in INTERVALS if interval.isdigit()]
Interval = Annotated[
    Annotated[StrictStr, StringConstraints(min_length=1, max_length=3)] | StrictInt,
    WithJsonSchema({"anyOf": [{"type": "string", "enum": INTERVALS}, {"type": "integer", "enum": _MINUTES}]}),
]
Status = Literal["pending", "live", "rejected", "cancelled", "expired"]
Flag = Annotated[StrictBool, BeforeValidator(lambda text: {"true": True, "false": False}.get(text, text))]
Whole = Annotated[StrictInt, BeforeValidator(lambda text: int(text) if _WHOLE.fullmatch(str(text)) else text)]


class Strict(BaseModel):
    """What it does not name is refused."""

    model_config = ConfigDict(extra="forbid")


class Page(Strict):
    limit: Whole = Field(100, ge=1, le=MOST_LIMIT, description="page size")
    offset: Whole = Field(0, ge=0, le=10**9, description="offset")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for, as far as it makes sense, and all that does not."""

    channel: Channel | None
    service: str | None
    ttl_seconds: int | None
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class AskedList:
    """Each channel with its place in the list."""

    channels: list[tuple[int, Channel]]
    ttl_seconds: int | None
    faults: list[Fault]


class Topic(Strict):
    """A topic, named by its parts or as Bybit spells it."""

    channel_type: ChannelType | None = Field(None, description="may be left out when topic is given")
    category: Category | None = Field(None, description="linear when left out")
    symbol: Text | None = Field(None)
    depth: StrictInt | None = Field(None, ge=1, le=1000, description="of an orderbook; 50 (option: 25) when left out")
    interval: Interval | None = Field(None, description="of a kline; 1 when left out")
    topic: Text | None = Field(None, description="instead of the parts")


Lease = Annotated[
    StrictInt | None,
    Field(ge=1, le=LONGEST_LEASE_S, description="ends by itself unless asked for again in time"),
]


class Ask(Topic):
    """A service's subscription for one topic."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"channel_type": "trades", "symbol": "BTCUSDT", "requesting_service": "model-service"}]
        }
    )

    requesting_service: ServiceName
    ttl_seconds: Lease = None

    @classmethod
    def read(cls, body: Any) -> Asked:
        """Everything that is wrong with the body at once, its meaning included."""
        known, faults = _known(cls, body)
        unfit = service_faults(known.get("requesting_service"))
        channel, unclear = _channel(known, faults)
        service = None if unfit else known.get("requesting_service")
        return Asked(channel, service, known.get("ttl_seconds"), [*faults, *unfit, *unclear])


class AskList(Strict):
    """All that a service wants."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "subscriptions": [
                        {"channel_type": "orderbook", "symbol": "BTCUSDT", "depth": 50},
                        {"topic": "kline.1.ETHUSDT", "category": "spot"},
                    ],
                    "ttl_seconds": 3600,
                }
            ]
        }
    )

    subscriptions: list[Topic] = Field(description="what is not in the list ends")
    ttl_seconds: Lease = None

    @classmethod
    def read(cls, body: Any) -> AskedList:
        known, faults = _known(cls, body, but_for="subscriptions")
        listed = known.get("subscriptions")
        channels: list[tuple[int, Channel]] = []
        for place, each in enumerate(listed if isinstance(listed, list) else []):
            parts, wrong = _known(Topic, each)
            channel, unclear = _channel(parts, wrong)
            faults += [fault.within(f"subscriptions.{place}") for fault in (*wrong, *unclear)]
            channels += [(place, channel)] if channel else []
        return AskedList(channels, known.get("ttl_seconds"), faults)


def service_faults(name: str | None) -> list[Fault]:
    if name is None:
        return []
    if not topology.SERVICE_NAME.fullmatch(name):
        allowed = "1 to 63 of a-z, 0-9 and -, not starting with -"
        return [Fault("requesting_service", "bad_service_name", f"{name!r}: allowed is {allowed}")]
    if name == topology.PERSISTER:
        return [Fault("requesting_service", "reserved_service_name", f"{name!r} is the gateway's own")]
    return []


def _known(model: type[BaseModel], body: Any, but_for: str = "") -> tuple[dict[str, Any], list[Fault]]:
    """The fields that have a fit form, and the faults of the others; `but_for` is looked into by the caller."""
    faults = _form_faults(model, body, but_for)
    given = body if isinstance(body, dict) else {}
    unfit = {fault.field for fault in faults}
    return {name: value for name, value in given.items() if name not in unfit}, faults


def _form_faults(model: type[BaseModel], body: Any, but_for: str) -> list[Fault]:
    try:
        model.model_validate(body)
    except ValidationError as error:
        deeper = f"{but_for}."
        return _one_per_field(fault for fault in faults_of(error) if not (but_for and fault.field.startswith(deeper)))
    return []


def _one_per_field(faults: Iterable[Fault]) -> list[Fault]:
    """A field that may be of two types is at fault once."""
    merged: dict[str, Fault] = {}
    for fault in faults:
        name = fault.field.split(".")[0]
        merged.setdefault(name, Fault(name, fault.code, fault.message))
    return list(merged.values())


def _channel(known: dict[str, Any], faults: list[Fault]) -> tuple[Channel | None, list[Fault]]:
    """The channel that the known fields mean; what is wrong with the others has been said."""
    named = {name: known.get(name) for name in Request.__slots__}
    if isinstance(named["interval"], int):
        named["interval"] = str(named["interval"])
    try:
        return resolve(Request(**named)), []
    except BadChannel as error:
        said = {fault.field for fault in faults}
        return None, [fault for fault in error.faults if fault.field not in said and "body" not in said]


class Preferences(BaseModel):
    prefer: str = Field("", description="`wait=N`: answer when the exchange has acked or refused, at most N s later")


class Filters(Page):
    requesting_service: str | None = Field(None, max_length=63)
    is_active: Flag | None = None
    channel_type: str | None = Field(None, max_length=64)
    symbol: str | None = Field(None, max_length=255)
    category: str | None = Field(None, max_length=64)
    status: Status | None = None


class Subscription(BaseModel):
    """A service's subscription and what has become of it."""

    id: uuid.UUID
    channel_type: str
    category: str
    symbol: str | None
    topic: str
    requesting_service: str
    is_active: bool
    status: Status
    reason: str | None = Field(description="why it is rejected, or what a pending one waits for")
    routing_key: str
    queue: str = Field(description="where the service reads its events")
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    last_event_at: datetime | None


class Subscriptions(BaseModel):
    items: list[Subscription]
    total: int
    limit: int
    offset: int


class Cancelled(BaseModel):
    items: list[Subscription]
    total: int


class FieldAtFault(BaseModel):
    field: str
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457; `code` is stable, one for each cause."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    trace_id: str | None
    errors: list[FieldAtFault] | None = None


class Part(BaseModel):
    state: Literal["up", "idle", "down", "unknown"]
    since: datetime | None
    reason: str | None


class Sockets(Part):
    endpoints: dict[str, Part] = Field(default_factory=dict)


class BrokerPart(Part):
    other_arguments: dict[str, str | None] = Field(
        default_factory=dict,
        description="queues that exist otherwise than the settings ask for, used as they are: how to make each anew",
    )


class Components(BaseModel):
    ingestor: Part
    sockets: Sockets
    broker: BrokerPart
    database: Part
    persister: Part


class Health(BaseModel):
    """Healthy as long as no component is down; idle by design is healthy."""

    status: Literal["healthy", "unhealthy"]
    websocket_connected: bool
    active_subscriptions: int | None
    last_heartbeat_at: datetime | None = Field(description="the exchange's newest sign of life on any socket")
    version: str
    components: Components


class Live(BaseModel):
    status: Literal["live"]


class ReadyQuery(Strict):
    service: str = Field(min_length=1, max_length=63)


class Missing(BaseModel):
    what: Literal["subscription", "queue"]
    name: str
    reason: str


class Ready(BaseModel):
    service: str
    ready: bool
    missing: list[Missing]


class SeenTopic(BaseModel):
    """A topic as the ingestor holds it."""

    endpoint: str
    topic: str
    channel_type: str
    state: str
    reason: str | None
    services: int = Field(description="how many services want it")
    acked_at: datetime | None
    last_event_at: datetime | None
    last_event_age_s: float | None
    events: int = Field(description="since the ingestor's life began")
    events_per_s: float | None = Field(description="on average since the exchange acknowledged it")
    observed_at: datetime
    stale: bool = Field(description="the ingestor has not said so lately: do not believe it")


class SeenSocket(BaseModel):
    """A socket to the exchange as the ingestor holds it."""

    endpoint: str
    socket_no: int
    state: str
    since: datetime
    attempts: int
    last_error: str | None
    rtt_ms: float | None
    clock_offset_ms: float | None
    last_heartbeat_at: datetime | None
    epoch: str
    observed_at: datetime
    stale: bool


class SeenQueue(BaseModel):
    """A queue as the ingestor last found it."""

    name: str
    event_class: str
    service: str | None
    ready: int | None
    consumers: int | None
    publish_rate: float | None
    net_rate: float | None
    consume_rate: float | None = Field(
        description="acknowledged per second, as RabbitMQ's management says; null: unknown"
    )
    oldest_at: datetime | None = Field(
        description="when the oldest ready message was published; null: none, or unknown"
    )
    unused_since: datetime | None
    alarm: Literal["warning", "critical"] | None
    reason: str | None = Field(description="why there is an alarm")
    observed_at: datetime
    stale: bool


class SeenGap(BaseModel):
    """A window in which a topic may have missed data."""

    id: int
    endpoint: str
    topic: str
    opened: datetime
    closed: datetime | None
    cause: str
    last_id: str | None
    first_id: str | None
    healed: str | None


class SeenTopics(BaseModel):
    items: list[SeenTopic]
    total: int
    limit: int
    offset: int


class SeenSockets(BaseModel):
    items: list[SeenSocket]
    total: int


class SeenQueues(BaseModel):
    items: list[SeenQueue]
    total: int
    limit: int
    offset: int


class SeenGaps(BaseModel):
    items: list[SeenGap]
    total: int
    limit: int
    offset: int


class GapFilters(Page):
    open: Flag | None = Field(None, description="only those that are still open, or only closed ones")


class Replaced(BaseModel):
    """What putting the list has changed."""

    added: list[Subscription]
    kept: list[Subscription]
    removed: list[Subscription]


class Hop(BaseModel):
    """One step of the way from the subscription to its reader."""

    hop: Literal["intent", "reconciled", "socket", "ack", "last_frame", "last_publish", "binding", "queue", "consumer"]
    state: Literal["ok", "broken", "waiting", "quiet", "unknown"]
    evidence: str
    since: datetime | None
    age_s: float | None
    advice: str | None


class Diagnosis(BaseModel):
    """Where the way is broken, first of all."""

    subscription: Subscription
    broken: str | None = Field(description="the first broken hop, or null when none is")
    verdict: str
    advice: str | None
    hops: list[Hop]


class NewKey(Strict):
    """A key for a service that is to act for itself alone."""

    service: ServiceName
    ttl_seconds: Annotated[StrictInt | None, Field(ge=1, le=10 * 366 * 24 * 3600)] = Field(
        None, description="how long the key is valid; for ever when left out"
    )


class ServiceKey(BaseModel):
    """What is known of a key; the key itself is not."""

    id: uuid.UUID
    service: str
    live: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")
    revoked_at: datetime | None


class MadeKey(ServiceKey):
    key: str = Field(description="shown this once")


class ServiceKeys(BaseModel):
    items: list[ServiceKey]
    total: int
    limit: int
    offset: int


class KeyFilters(Page):
    service: str | None = Field(None, max_length=63)
