"""What the account holds: now, at a moment, and as it changed."""

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from apiflask import APIBlueprint
from flask import Response, g
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator
from sqlalchemy import Connection, Row

from api import showing
from api.http.errors import Refusal, no_such
from api.schemas import Page
from api.services.long_poll import LongPollSlots
from api.services.notifier import Notifier
from api.services.store import Store
from api.showing import answer
from common.notifications import Notification
from common.tables import account_balances, account_margin_balances, balance_syncs
from common.tables.account_balances import Place, Span

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_SYNCED_WITHIN_S = 9.5  # the second look at a difference comes 5 s after the first
_MOST_ID = 2**63 - 1
_HIDDEN = ("id", "account_no", "coin_no")


def _moment(text: Any) -> datetime:
    if not isinstance(text, str) or not _MOMENT.fullmatch(text):
        raise ValueError("must be an RFC 3339 timestamp, e.g. 2026-08-09T21:26:58.123Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


def _place(text: Any) -> Place:
    try:
        moment, _, arrival = base64.urlsafe_b64decode(str(text)).decode("ascii").partition("/")
        return Place(_moment(moment), int(arrival) & _MOST_ID)
    except (binascii.Error, ValueError) as error:
        raise ValueError("invalid cursor") from error


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Cursor = Annotated[Place, BeforeValidator(_place), WithJsonSchema({"type": "string"})]
Coin = Annotated[str, Field(min_length=1, max_length=255, description="for example USDT", examples=["USDT"])]


class BalanceQuery(Page):
    coin: Coin | None = None
    at: Moment | None = Field(None, description="as they were known at this moment of the exchange's clock")


class HistoryQuery(Page):
    coin: Coin | None = None
    begins: Moment | None = Field(None, alias="from", description="not older than this")
    ends: Moment | None = Field(None, alias="to", description="older than this")
    cursor: Cursor | None = Field(None, description="next_cursor of the page before, instead of an offset")

    @model_validator(mode="after")
    def _one_way_of_paging(self) -> "HistoryQuery":
        if self.cursor is not None and self.offset:
            raise ValueError("cursor and offset exclude each other")
        return self


class _Told(BaseModel):
    event_id: str = Field(description="of the event that told it; also its trace id")
    event_timestamp: datetime = Field(description="by the exchange's clock")
    account_type: str
    received_at: datetime
    recorded_at: datetime
    trace_id: str | None
    origin: str = Field(description="live, or snapshot where the exchange's REST answer corrected the ledger")
    anomalies: list[str] = Field(description="checks that it fails; it is shown as Bybit told it all the same")


class Balance(_Told):
    """One coin, in Bybit's numbers; what Bybit did not tell is null."""

    coin: str
    wallet_balance: str | None
    available_balance: str | None = Field(description="what is free to be used, see docs/balances.md")
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


class Margin(_Told):
    """The totals of one account, in USD."""

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


class Balances(BaseModel):
    items: list[Balance]
    accounts: list[Margin]
    total: int
    limit: int
    offset: int


class BalanceHistory(BaseModel):
    items: list[Balance]
    total: int | None = Field(description="counted up to 10000; null when paging by cursor")
    limit: int
    offset: int
    next_cursor: str | None = Field(description="of the next page, null after the last one")


class Held(BaseModel):
    wallet_balance: str | None
    locked: str | None


class Change(BaseModel):
    """A balance that two snapshots agreed on against the ledger, so that the ledger was corrected."""

    coin: str
    account_type: str
    kind: Literal["new", "changed", "gone"]
    ledger: Held | None = Field(description="before; null where the coin was not known")
    exchange: Held = Field(description="now")


class Sync(BaseModel):
    id: uuid.UUID
    outcome: Literal["pending", "proven", "drift", "unconfirmed", "empty"]
    coins: int | None = Field(description="how many the exchange listed")
    changes: list[Change]
    requested_at: datetime
    done_at: datetime | None


_UNSETTLED = {
    202: showing.also(Sync, "The exchange has not answered yet"),
    502: {"description": "The exchange gave no snapshot"},
}


def routes(store: Store, notifier: Notifier, room: LongPollSlots) -> APIBlueprint:
    blueprint = APIBlueprint("balances", __name__, url_prefix="/api/v1/balances")

    @blueprint.get("")
    @blueprint.input(BalanceQuery, location="query")
    @blueprint.output(Balances)
    def latest(query_data: BalanceQuery) -> Response:
        """The newest balance of each coin and the account's margin, or those known at a moment."""
        with store.reading() as connection:
            rows, accounts, total = _known(connection, query_data)
        return answer(
            {
                "items": _shown(rows),
                "accounts": _shown(accounts),
                "total": total,
                "limit": query_data.limit,
                "offset": query_data.offset,
            }
        )

    @blueprint.get("/history")
    @blueprint.input(HistoryQuery, location="query")
    @blueprint.output(BalanceHistory)
    def history(query_data: HistoryQuery) -> Response:
        """Every balance that was told, newest first, in the exchange's time."""
        asked = query_data
        span = Span(asked.coin, asked.begins, asked.ends, asked.cursor)
        with store.reading() as connection:
            rows = account_balances.history(connection, span, asked.limit + 1, asked.offset)
            total = account_balances.history_count(connection, span) if asked.cursor is None else None
        return answer(
            {
                "items": _shown(rows[: asked.limit]),
                "total": total,
                "limit": asked.limit,
                "offset": asked.offset,
                "next_cursor": _cursor(rows[asked.limit - 1]) if len(rows) > asked.limit else None,
            }
        )

    @blueprint.post("/sync")
    @blueprint.output(Sync)
    @blueprint.doc(responses=_UNSETTLED)
    def sync() -> Response:
        """Compare the ledger with the exchange now; the answer comes within 10 s."""
        with store.writing() as connection:
            asked = balance_syncs.ask(connection, g.trace_id)
        notifier.notify(Notification(0, g.trace_id))
        look = partial(_sync, store, asked)
        return _answered(room.wait(look, _is_done, _SYNCED_WITHIN_S) or look())

    @blueprint.get("/sync/<uuid:sync_id>")
    @blueprint.output(Sync)
    @blueprint.doc(responses=_UNSETTLED)
    def synced(sync_id: uuid.UUID) -> Response:
        """What became of a comparison."""
        return _answered(_sync(store, sync_id))

    return blueprint


def _sync(store: Store, sync_id: uuid.UUID) -> Row[Any]:
    """Raises Refusal when there is none."""
    with store.reading() as connection:
        found = balance_syncs.one(connection, sync_id)
    if found is None:
        raise no_such("sync")
    return found


def _is_done(sync: Row[Any]) -> bool:
    return sync.done_at is not None


def _answered(sync: Row[Any]) -> Response:
    if sync.outcome == "failed":
        raise Refusal(502, "exchange_failed", f"the exchange gave no snapshot: {sync.reason}")
    shown = {
        "id": sync.id,
        "outcome": sync.outcome or "pending",
        "coins": sync.coins,
        "changes": sync.changes,
        "requested_at": sync.requested_at,
        "done_at": sync.done_at,
    }
    return answer(shown, 200 if sync.done_at else 202, {"Location": f"/api/v1/balances/sync/{sync.id}"})


def _known(connection: Connection, asked: BalanceQuery) -> tuple[Sequence[Row[Any]], Sequence[Row[Any]], int]:
    """The page of coins, the margin of each account, and how many coins there are."""
    if asked.at is None:
        rows = account_balances.latest(connection, asked.coin, asked.limit, asked.offset)
        total = account_balances.latest_count(connection, asked.coin)
        return rows, account_margin_balances.latest(connection), total
    found = account_balances.known_at(connection, asked.at, asked.coin)
    page = found[asked.offset : asked.offset + asked.limit]
    return page, account_margin_balances.known_at(connection, asked.at), len(found)


def _shown(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    names = [str(name) for name in rows[0]._fields] if rows else []
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for each in found:
        for name in _HIDDEN:
            each.pop(name, None)
    return found


def _cursor(row: Row[Any]) -> str:
    place = f"{row.event_timestamp.astimezone(UTC).isoformat()}/{row.id}"
    return base64.urlsafe_b64encode(place.encode("ascii")).decode("ascii")
