"""Subscriptions: what a service requests, and what has become of it."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, StringConstraints, WithJsonSchema

from api.schemas.common import Answer, Flag, Page, ServiceName, Strict, form_faults, service_faults
from common.channels import CHANNEL_TYPES, ENDPOINTS, INTERVALS, BadChannel, Channel, Fault, Request, resolve

MAX_LEASE_S = 30 * 24 * 3600

_SHORT = StringConstraints(min_length=1, max_length=255)
_PRINTABLE = r"^[^\s\u0000-\u001f\u007f-\u009f]+$"


def _one_of(names: Sequence[str]) -> WithJsonSchema:
    """For the description only: `resolve` refuses other names with a better message than pydantic's."""
    return WithJsonSchema({"type": "string", "enum": list(names)})


Text = Annotated[
    StrictStr, _SHORT, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE})
]
ChannelType = Annotated[StrictStr, _SHORT, _one_of(CHANNEL_TYPES)]
Category = Annotated[StrictStr, _SHORT, _one_of(ENDPOINTS)]
_MINUTES = [int(interval) for interval in INTERVALS if interval.isdigit()]
Interval = Annotated[
    Annotated[StrictStr, StringConstraints(min_length=1, max_length=3)] | StrictInt,
    WithJsonSchema({"anyOf": [{"type": "string", "enum": INTERVALS}, {"type": "integer", "enum": _MINUTES}]}),
]
Status = Literal["pending", "live", "rejected", "cancelled", "expired"]
Lease = Annotated[
    StrictInt | None,
    Field(ge=1, le=MAX_LEASE_S, description="the subscription expires after this time unless it is renewed"),
]


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """What a body requests, as far as it is valid, and everything that is not."""

    channel: Channel | None
    service: str | None
    ttl_seconds: int | None
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class SubscriptionListRequest:
    """Each channel with its index in the list, as far as it is valid, and everything that is not."""

    channels: list[tuple[int, Channel]]
    ttl_seconds: int | None
    faults: list[Fault]


class Topic(Strict):
    """A topic, named by its parts or as Bybit spells it."""

    channel_type: ChannelType | None = Field(None, description="may be omitted when topic is given")
    category: Category | None = Field(None, description="default: linear")
    symbol: Text | None = Field(None)
    depth: StrictInt | None = Field(None, ge=1, le=1000, description="of an orderbook; default: 50 (option: 25)")
    interval: Interval | None = Field(None, description="of a kline; default: 1")
    topic: Text | None = Field(None, description="Bybit's topic, instead of the parts")


class Ask(Topic):
    """A service's subscription to one topic."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"channel_type": "trades", "symbol": "BTCUSDT", "requesting_service": "model-service"}]
        }
    )

    requesting_service: ServiceName
    ttl_seconds: Lease = None

    @classmethod
    def read(cls, body: Any) -> SubscriptionRequest:
        """The request with all faults of the body at once, those of its meaning included."""
        valid, faults = _valid_fields(cls, body)
        name_faults = service_faults(valid.get("requesting_service"))
        channel, channel_faults = _channel(valid, faults)
        service = None if name_faults else valid.get("requesting_service")
        return SubscriptionRequest(channel, service, valid.get("ttl_seconds"), [*faults, *name_faults, *channel_faults])


class AskList(Strict):
    """All subscriptions of a service."""

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

    subscriptions: list[Topic] = Field(description="subscriptions that are not in the list end")
    ttl_seconds: Lease = None

    @classmethod
    def read(cls, body: Any) -> SubscriptionListRequest:
        """The request with all faults of the body at once, those of each element included."""
        valid, faults = _valid_fields(cls, body, but_for="subscriptions")
        listed = valid.get("subscriptions")
        channels: list[tuple[int, Channel]] = []
        for index, each in enumerate(listed if isinstance(listed, list) else []):
            parts, form = _valid_fields(Topic, each)
            channel, meaning = _channel(parts, form)
            faults += [fault.within(f"subscriptions.{index}") for fault in (*form, *meaning)]
            channels += [(index, channel)] if channel else []
        return SubscriptionListRequest(channels, valid.get("ttl_seconds"), faults)


class Preferences(BaseModel):
    prefer: str = Field(
        "", description="`wait=N`: answer once the exchange has acknowledged or rejected, after N s at the latest"
    )


class Filters(Page):
    requesting_service: str | None = Field(None, max_length=63)
    is_active: Flag | None = None
    channel_type: str | None = Field(None, max_length=64)
    symbol: str | None = Field(None, max_length=255)
    category: str | None = Field(None, max_length=64)
    status: Status | None = None


class Subscription(Answer):
    """A service's subscription and its status."""

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


class Subscriptions(Answer):
    items: list[Subscription]
    total: int
    limit: int
    offset: int


class Cancelled(Answer):
    items: list[Subscription]
    total: int


class Replaced(Answer):
    """What the new list has changed."""

    added: list[Subscription]
    kept: list[Subscription]
    removed: list[Subscription]


def _valid_fields(model: type[BaseModel], body: Any, but_for: str = "") -> tuple[dict[str, Any], list[Fault]]:
    """The fields whose form is valid, and the faults of the others; what is in `but_for` is left to the caller."""
    inside = f"{but_for}."
    found = (fault for fault in form_faults(model, body) if not (but_for and fault.field.startswith(inside)))
    faults = _one_per_field(found)
    given = body if isinstance(body, dict) else {}
    invalid = {fault.field for fault in faults}
    return {name: value for name, value in given.items() if name not in invalid}, faults


def _one_per_field(faults: Iterable[Fault]) -> list[Fault]:
    """A field that may be of two types is at fault once."""
    merged: dict[str, Fault] = {}
    for fault in faults:
        name = fault.field.split(".")[0]
        merged.setdefault(name, Fault(name, fault.code, fault.message))
    return list(merged.values())


def _channel(valid: dict[str, Any], faults: list[Fault]) -> tuple[Channel | None, list[Fault]]:
    """The channel that the valid fields name, and further faults; fields that have one already are not repeated."""
    named = {name: valid.get(name) for name in Request.__slots__}
    if isinstance(named["interval"], int):
        named["interval"] = str(named["interval"])
    try:
        return resolve(Request(**named)), []
    except BadChannel as error:
        reported = {fault.field for fault in faults}
        return None, [fault for fault in error.faults if fault.field not in reported and "body" not in reported]
