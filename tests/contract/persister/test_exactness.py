"""Any wallet message against what Postgres holds of it afterwards, to the last digit."""

import itertools
import json
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from persister.ledger import Ledger
from persister.message import ACCOUNT_AMOUNTS, COIN_AMOUNTS, COIN_FLAGS
from tests.kit import wallets
from tests.kit.servers import Database
from tests.kit.wallets import T0_MS, understood


class Number(str):
    """Stands in JSON without quotes."""

    __slots__ = ()


def _choice(fields: dict[str, str], of: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return dict.fromkeys(fields, of)


_DIGITS = st.text("0123456789", min_size=1, max_size=45)
_PLAIN = st.builds("{}{}{}".format, st.sampled_from(["", "-"]), _DIGITS, st.just("") | _DIGITS.map(".{}".format))
_POWER = st.builds("{}e{}".format, _PLAIN, st.integers(-60, 60))
_NUMBER = st.decimals(-(10**30), 10**30, allow_nan=False).map(str).map(Number)
_AMOUNT = st.sampled_from(["", None]) | _PLAIN | _POWER | _NUMBER
_NEW = st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2))
_COIN = st.fixed_dictionaries(
    {"coin": st.sampled_from(["USDT", "BTC", "币安人生", "👨\u200d👩\u200d👧", "O'Neil\"\\"])},
    optional={**_choice(COIN_AMOUNTS, _AMOUNT), **_choice(COIN_FLAGS, st.booleans()), "new": _NEW},
)
_ACCOUNT = st.fixed_dictionaries(
    {"coin": st.lists(_COIN, max_size=4)},
    optional={
        **_choice(ACCOUNT_AMOUNTS, _AMOUNT),
        "accountType": st.sampled_from(["UNIFIED", "CONTRACT", "SPOT", "FUND", "", None]),
        "new": _NEW,
    },
)
_numbers = itertools.count()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_ACCOUNT, min_size=1, max_size=3))
def test_every_column_holds_what_was_sent(engine: Engine, database: Database, accounts: list[dict[str, Any]]) -> None:
    data = _json({"creationTime": Number(str(T0_MS + next(_numbers))), "data": accounts})
    event = understood(wallets.live(data.encode(), at_ms=None))
    ledger = Ledger(engine)
    ledger.open()
    ledger.write([event])
    ledger.write([event])
    assert _kept(database, "account_balances", event.id, "coin_no", "coin", COIN_AMOUNTS, COIN_FLAGS) == [
        (
            a,
            account.get("accountType") or "",
            c,
            coin["coin"],
            *(_expected(coin.get(field)) for field in COIN_AMOUNTS),
            *(coin.get(field) for field in COIN_FLAGS),
            _json(coin),
        )
        for a, account in enumerate(accounts)
        for c, coin in enumerate(account["coin"])
    ]
    assert _kept(database, "account_margin_balances", event.id, "0", "''", ACCOUNT_AMOUNTS, {}) == [
        (
            a,
            account.get("accountType") or "",
            0,
            "",
            *(_expected(account.get(field)) for field in ACCOUNT_AMOUNTS),
            data,
        )
        for a, account in enumerate(accounts)
    ]


def _kept(
    database: Database, table: str, id: str, number: str, name: str, amounts: dict[str, str], flags: dict[str, str]
) -> list[tuple[Any, ...]]:
    listed = ["account_no", "account_type", number, name, *(f"{column}::text" for column in amounts.values())]
    listed += [*flags.values(), "raw::text"]
    return database.execute(f"SELECT {', '.join(listed)} FROM {table} WHERE event_id = '{id}' ORDER BY id")


def _expected(sent: str | None) -> str | None:
    """Every digit, nothing added: as numeric writes it."""
    if not sent:
        return None
    amount = Decimal(sent)
    if amount:
        return f"{amount:f}"
    places = -int(amount.as_tuple().exponent)
    return f"{Decimal(0):.{places}f}" if places > 0 else "0"


def _json(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_json(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return value if isinstance(value, Number) else json.dumps(value)
