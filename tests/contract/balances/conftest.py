"""The api on a ledger of the test's own."""

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from api.app import create
from api.settings import Settings
from common import database as databases
from common.notifications import Notification
from persister.ledger import Ledger
from tests.kit import wallets
from tests.kit.servers import Database

KEY = "the-administrators-key"


class Notifications(list[Notification]):
    """Remembers notifications instead of sending them."""

    def notify(self, notification: Notification) -> None:
        self.append(notification)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = databases.engine(_settings(database).postgres, "balances tests", pool_size=8)
    yield made
    made.dispose()


@pytest.fixture
def notifications() -> Notifications:
    return Notifications()


@pytest.fixture
def client(database: Database, engine: Engine, notifications: Notifications) -> FlaskClient:
    app = create(_settings(database), engine, notifications)

    made: FlaskClient = app.test_client()
    made.environ_base["HTTP_X_API_KEY"] = KEY
    return made


@pytest.fixture
def write(engine: Engine) -> Callable[..., None]:
    """Writes events into the ledger, as the persister does."""
    ledger = Ledger(engine)
    ledger.open()

    return lambda *bodies: ledger.write([wallets.understood(body) for body in bodies])


def _settings(database: Database) -> Settings:
    return Settings.from_env(database.environ() | {"RABBITMQ_PASSWORD": "unused", "WS_GATEWAY_API_KEY": KEY})
