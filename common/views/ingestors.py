"""The ingestor's own report: its heartbeat, what it has applied, and its delivery to RabbitMQ."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, text

from common.channels import ENDPOINTS
from common.tables.ingestors import ingestors
from common.tables.subscriptions import subscriptions
from common.views.freshness import FRESH_S, age_of

_NEEDED = text(
    """
    SELECT endpoint, since FROM unnest(CAST(:endpoints AS text[])) AS each (endpoint) CROSS JOIN LATERAL (
        SELECT min(created_at) AS since FROM subscriptions WHERE is_active AND subscriptions.endpoint = each.endpoint
    ) AS first
    WHERE since < now() - make_interval(secs => :longer_than_s)
    """
)
"""One index lookup per endpoint."""


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane to RabbitMQ: how many events wait for a confirm, since when and for how long; when the last came."""

    waiting: int
    confirmed_at: datetime | None
    waits_since: datetime | None
    waits_s: float

    @classmethod
    def from_json(cls, lane: Mapping[str, Any]) -> "LaneView":
        return cls(
            lane.get("waiting", 0),
            _moment(lane.get("confirmed_at")),
            _moment(lane.get("waits_since")),
            lane.get("waits_s", 0.0),
        )


@dataclass(frozen=True, slots=True)
class IngestorView:
    """`generation` is the newest change of subscriptions that it has applied; `age_s` the age of its heartbeat."""

    epoch: str
    started_at: datetime
    heartbeat_at: datetime
    age_s: float
    generation: int
    broker_connected: bool
    broker_since: datetime
    broker_reason: str
    lanes: Mapping[str, LaneView]
    disk_trouble: str | None
    disk_since: datetime | None

    @classmethod
    def from_row(cls, row: Row[Any]) -> "IngestorView":
        columns = dict(row._mapping)
        lanes = {name: LaneView.from_json(lane) for name, lane in columns.pop("lanes").items()}
        return cls(lanes=lanes, **columns)

    @property
    def fresh(self) -> bool:
        return self.age_s < FRESH_S


def leader(connection: Connection) -> IngestorView | None:
    """The leading ingestor with the newest heartbeat, however old that is."""
    names = [name for name in IngestorView.__slots__ if name != "age_s"]
    found: Select[Any] = select(*(ingestors.c[name] for name in names), age_of(ingestors.c.heartbeat_at))
    newest = found.where(ingestors.c.role == "leader").order_by(ingestors.c.heartbeat_at.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else IngestorView.from_row(row)


def left_at(connection: Connection) -> datetime | None:
    """When an ingestor last stopped in an orderly way."""
    found = select(func.max(ingestors.c.heartbeat_at)).where(ingestors.c.role == "left")
    moment: datetime | None = connection.execute(found).scalar_one()
    return moment


def clock(connection: Connection) -> datetime:
    """The database's clock, by which all ages are measured."""
    now: datetime = connection.execute(select(func.now())).scalar_one()
    return now


def writable(connection: Connection) -> bool:
    """Whether this server accepts writes: a standby does not, nor one that was configured read-only."""
    return bool(connection.execute(text("SELECT current_setting('transaction_read_only') = 'off'")).scalar_one())


def endpoints_needed(connection: Connection, longer_than_s: float) -> dict[str, datetime]:
    """The endpoints that have had an active subscription for longer than this, and since when."""
    parameters = {"endpoints": list(ENDPOINTS), "longer_than_s": longer_than_s}
    return dict(connection.execute(_NEEDED, parameters).all())


def active_subscriptions(connection: Connection) -> int:
    counted = select(func.count()).select_from(subscriptions).where(subscriptions.c.is_active)
    return int(connection.execute(counted).scalar_one())


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
