"""The list of instruments, and when it counts as changed."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from common import database as databases
from common import settings
from common.tables import instruments
from common.tables.instruments import Instrument
from tests.kit.servers import Database


def spot(symbol: str, status: str = "Trading") -> Instrument:
    return Instrument("spot", symbol, symbol[:3], "USDT", status)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    engine = databases.engine(settings.postgres(settings.Environment(database.environ())), "test")
    with engine.connect() as found:
        yield found
        found.rollback()
    engine.dispose()


def test_a_list_changes_with_its_symbols_and_with_their_statuses(connection: Connection):
    lists = [
        [spot("OLDUSDT"), spot("NEWUSDT", "PendingOpen")],
        [spot("NEWUSDT", "PendingOpen"), spot("OLDUSDT")],
        [spot("OLDUSDT"), spot("NEWUSDT")],
        [spot("NEWUSDT")],
    ]
    changed = [instruments.replace(connection, "spot", listed) for listed in lists]
    assert changed == [True, False, True, True]
    assert instruments.symbols(connection, "spot") == {"NEWUSDT"}


def test_a_symbol_that_does_not_trade_yet_is_listed(connection: Connection):
    instruments.replace(connection, "spot", [spot("NEWUSDT", "PendingOpen")])
    assert instruments.listed(connection, "spot", ["NEWUSDT", "NOPEUSDT"]) == {"NEWUSDT"}


def test_an_empty_list_changes_nothing(connection: Connection):
    instruments.replace(connection, "spot", [spot("OLDUSDT")])
    assert instruments.replace(connection, "spot", []) is False
    assert instruments.symbols(connection, "spot") == {"OLDUSDT"}
