"""Balances: queries, answers, and comparisons with the exchange."""

import base64
import binascii
import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from api.schemas.common import Answer, Page
from common.views.balances import Place

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_MAX_ID = 2**63 - 1


def _moment(text: Any) -> datetime:
    if not isinstance(text, str) or not _MOMENT.fullmatch(text):
        raise ValueError("must be an RFC 3339 timestamp, e.g. 2026-08-09T21:26:58.123Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


def _place(text: Any) -> Place:
    """Reads what `api.services.balances.cursor_after` writes."""
    try:
        moment, _, arrival = base64.urlsafe_b64decode(str(text)).decode("ascii").partition("/")
        return Place(_moment(moment), int(arrival) & _MAX_ID)
    except (binascii.Error, ValueError) as error:
        raise ValueError("invalid cursor: pass next_cursor of an earlier answer unchanged") from error


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Cursor = Annotated[Place, BeforeValidator(_place), WithJsonSchema({"type": "string"})]
Coin = Annotated[str, Field(min_length=1, max_length=255, description="for example USDT", examples=["USDT"])]


class BalanceQuery(Page):
    coin: Coin | None = None
    at: Moment | None = Field(None, description="the balances as of this time by the exchange's clock")


class HistoryQuery(Page):
    coin: Coin | None = None
    begins: Moment | None = Field(None, alias="from", description="from this time on (inclusive)")
    ends: Moment | None = Field(None, alias="to", description="before this time (exclusive)")
    cursor: Cursor | None = Field(None, description="next_cursor of the previous page, instead of an offset")

    @model_validator(mode="after")
    def _one_way_of_paging(self) -> "HistoryQuery":
        if self.cursor is not None and self.offset:
            raise ValueError("cursor and offset exclude each other; omit one")
        return self


EventTimestamp = Annotated[datetime, Field(description="by the exchange's clock")]
EventId = Annotated[str, Field(description="of the event that reported it; also its trace id")]
Origin = Annotated[str, Field(description="live, or snapshot where the exchange's REST answer corrected the ledger")]
Anomalies = Annotated[list[str], Field(description="checks that failed; the balance is stored as Bybit reported it")]


class Balance(Answer):
    """One coin, in Bybit's numbers; null where Bybit gave none."""

    event_timestamp: EventTimestamp
    event_id: EventId
    coin: str
    account_type: str
    wallet_balance: str | None
    available_balance: str | None = Field(description="what can be used, see docs/balances.md")
    frozen: str | None = Field(description="what is tied up in orders and positions, see docs/balances.md")
    equity: str | None
    usd_value: str | None
    locked: str | None
    spot_hedging_qty: str | None
    bonus: str | None
    borrow_amount: str | None
    spot_borrow: str | None
    accrued_interest: str | None
    total_order_im: str | None
    total_position_im: str | None
    total_position_mm: str | None
    unrealised_pnl: str | None
    cum_realised_pnl: str | None
    available_to_withdraw: str | None
    available_to_borrow: str | None
    free: str | None
    col_res: str | None
    collateral_switch: bool | None
    margin_collateral: bool | None
    received_at: datetime
    recorded_at: datetime
    trace_id: str | None
    origin: Origin
    anomalies: Anomalies


class Margin(Answer):
    """The totals of one account, in USD."""

    event_timestamp: EventTimestamp
    event_id: EventId
    account_type: str
    total_equity: str | None
    total_wallet_balance: str | None
    total_margin_balance: str | None
    total_available_balance: str | None
    total_perp_upl: str | None
    total_initial_margin: str | None
    total_maintenance_margin: str | None
    total_initial_margin_by_mp: str | None
    total_maintenance_margin_by_mp: str | None
    account_im_rate: str | None
    account_mm_rate: str | None
    account_im_rate_by_mp: str | None
    account_mm_rate_by_mp: str | None
    account_ltv: str | None
    received_at: datetime
    recorded_at: datetime
    trace_id: str | None
    origin: Origin
    anomalies: Anomalies


class Balances(Answer):
    items: list[Balance]
    accounts: list[Margin]
    total: int
    limit: int
    offset: int


class BalanceHistory(Answer):
    items: list[Balance]
    total: int | None = Field(description="counted up to 10000; null when paging by cursor")
    limit: int
    offset: int
    next_cursor: str | None = Field(description="cursor of the next page, null after the last one")


class Held(Answer):
    locked: str | None
    wallet_balance: str | None


class Change(Answer):
    """A balance in which two snapshots agreed with each other and not with the ledger, which was corrected."""

    coin: str
    kind: Literal["new", "changed", "gone"]
    ledger: Held | None = Field(description="before; null where the coin was not known")
    exchange: Held = Field(description="now")
    account_type: str


class Sync(Answer):
    id: uuid.UUID
    outcome: Literal["pending", "proven", "drift", "unconfirmed", "empty"]
    coins: int | None = Field(description="how many the exchange listed")
    changes: list[Change]
    requested_at: datetime
    done_at: datetime | None
