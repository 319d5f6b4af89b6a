"""The balances of each coin and the totals of each account: now, at a moment, and as they changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal, select, true, tuple_, union_all

from common.tables.account_balances import account_balances, latest_account_balances
from common.tables.account_margin_balances import account_margin_balances, latest_account_margin_balances
from common.tables.schema import as_text

_MOST_COUNTED = 10_000  # beyond that a total costs more than the page that it decorates


@dataclass(frozen=True, slots=True)
class BalanceView:
    """One coin as one message reported it; amounts are plain digits, None where Bybit gave none. `id`: by arrival."""

    id: int
    event_timestamp: datetime
    event_id: str
    coin: str
    account_type: str
    wallet_balance: str | None
    available_balance: str | None
    frozen: str | None
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
    origin: str
    anomalies: Sequence[str]


@dataclass(frozen=True, slots=True)
class MarginView:
    """The totals of one account in USD as one message reported them; None where Bybit gave none."""

    event_timestamp: datetime
    event_id: str
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
    origin: str
    anomalies: Sequence[str]


@dataclass(frozen=True, slots=True)
class Place:
    """A row's place in event time; pages that begin at one stay put while rows are added."""

    event_timestamp: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one coin, or of all; `begins` is inside, `ends` is not, `before` is the row that a page ended with."""

    coin: str | None = None
    begins: datetime | None = None
    ends: datetime | None = None
    before: Place | None = None


_ledger, _latest = account_balances.c, latest_account_balances.c
_margins, _latest_margins = account_margin_balances.c, latest_account_margin_balances.c
_COIN_HIDDEN = ("account_no", "coin_no", "raw")
_MARGIN_HIDDEN = ("id", "account_no", "raw")
_rows = select(*as_text(account_balances, leaving_out=_COIN_HIDDEN))
_places = select(_ledger.event_timestamp, _ledger.id)
_latest_rows = select(*as_text(latest_account_balances, leaving_out=_COIN_HIDDEN))
_newest_first = (_ledger.event_timestamp.desc(), _ledger.id.desc())
_margin_rows = select(*as_text(account_margin_balances, leaving_out=_MARGIN_HIDDEN))
_latest_margin_rows = select(*as_text(latest_account_margin_balances, leaving_out=_MARGIN_HIDDEN))


def latest(connection: Connection, coin: str | None, limit: int, offset: int) -> list[BalanceView]:
    """The newest balance of each coin, by name."""
    rows = _latest_rows.where(*_of(coin, _latest.coin)).order_by(_latest.coin, _latest.account_type)
    return _balances(connection.execute(rows.limit(limit).offset(offset)).all())


def latest_count(connection: Connection, coin: str | None) -> int:
    found = select(func.count()).select_from(latest_account_balances).where(*_of(coin, _latest.coin))
    return int(connection.execute(found).scalar_one())


def known_at(connection: Connection, moment: datetime, coin: str | None) -> list[BalanceView]:
    """The newest balance of each coin that is not younger than the moment, by one lookup for each coin and month."""
    same = (_ledger.coin == _latest.coin, _ledger.account_type == _latest.account_type)
    rows = _rows.where(*same, _ledger.event_timestamp <= moment)
    newest = rows.order_by(*_newest_first).limit(1).lateral("newest")
    each = select(newest).select_from(latest_account_balances.join(newest, true())).where(*_of(coin, _latest.coin))
    return _balances(connection.execute(each.order_by("coin", "account_type")).all())


def history(connection: Connection, span: Span, limit: int, offset: int) -> list[BalanceView]:
    """The balances of the span, newest first."""
    if offset:
        skipped = _newest(connection, _places, span, 1, offset - 1)  # in the index alone
        if not skipped:
            return []
        span = replace(span, before=Place(skipped[0].event_timestamp, skipped[0].id))
    return _balances(_newest(connection, _rows, span, limit, 0))


def history_count(connection: Connection, span: Span) -> int:
    """How many rows the span holds, counted no further than 10,000."""
    some = select(literal(1)).select_from(account_balances).where(*_of(span.coin, _ledger.coin), *_inside(span))
    return int(connection.execute(select(func.count()).select_from(some.limit(_MOST_COUNTED).subquery())).scalar_one())


def latest_margins(connection: Connection) -> list[MarginView]:
    """The newest totals of each account type."""
    rows = connection.execute(_latest_margin_rows.order_by(_latest_margins.account_type))
    return [MarginView(*row) for row in rows]


def margins_known_at(connection: Connection, moment: datetime) -> list[MarginView]:
    """The newest totals of each account type that are not younger than the moment."""
    rows = _margin_rows.where(_margins.account_type == _latest_margins.account_type, _margins.event_timestamp <= moment)
    newest = rows.order_by(_margins.event_timestamp.desc(), _margins.id.desc()).limit(1).lateral("newest")
    each = select(newest).select_from(latest_account_margin_balances.join(newest, true()))
    return [MarginView(*row) for row in connection.execute(each.order_by("account_type"))]


def _balances(rows: Sequence[Sequence[Any]]) -> list[BalanceView]:
    """By position, because lists are long."""
    return [BalanceView(*row) for row in rows]


def _newest(connection: Connection, of: Select[Any], span: Span, limit: int, offset: int) -> Sequence[Row[Any]]:
    rows = of.where(*_inside(span)).order_by(*_newest_first)
    if span.coin is None:
        return connection.execute(rows.limit(limit).offset(offset)).all()
    kinds = connection.execute(select(_latest.account_type).where(_latest.coin == span.coin)).scalars().all()
    found = [rows.where(_ledger.coin == span.coin, _ledger.account_type == kind) for kind in kinds]
    if len(found) <= 1:
        return connection.execute(found[0].limit(limit).offset(offset)).all() if found else []
    return connection.execute(_together(found, limit + offset).limit(limit).offset(offset)).all()


def _together(found: Sequence[Select[Any]], most: int) -> Select[Any]:
    """Each by its own place in the index, then the newest of all."""
    rows = union_all(*(select(one.limit(most).subquery()) for one in found)).subquery()
    return select(rows).order_by(rows.c.event_timestamp.desc(), rows.c.id.desc())


def _of(coin: str | None, column: ColumnElement[str]) -> list[ColumnElement[bool]]:
    return [] if coin is None else [column == coin]


def _inside(span: Span) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if span.begins is not None:
        found.append(_ledger.event_timestamp >= span.begins)
    if span.ends is not None:
        found.append(_ledger.event_timestamp < span.ends)
    if span.before is not None:
        place = tuple_(_ledger.event_timestamp, _ledger.id)
        found.append(_ledger.event_timestamp <= span.before.event_timestamp)  # leaves out the younger months
        found.append(place < tuple_(span.before.event_timestamp, span.before.id))
    return found
