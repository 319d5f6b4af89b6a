"""The whole app on a database of the test's own."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from api.app import create
from api.settings import Settings
from common import database as databases
from common.control import Poke
from tests.servers import Database

ADMINISTRATOR_KEY = "the-administrators-key"


class Pokes(list[Poke]):
    """Remembers instead of telling anybody."""

    def poke(self, poke: Poke) -> None:
        self.append(poke)


@pytest.fixture
def settings(database: Database) -> Settings:
    return Settings.from_env(
        database.environ() | {"RABBITMQ_PASSWORD": "unused", "WS_GATEWAY_API_KEY": ADMINISTRATOR_KEY}
    )


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = databases.engine(settings.postgres, "api tests", pool_size=8)
    yield made
    made.dispose()


@pytest.fixture
def pokes() -> Pokes:
    return Pokes()


@pytest.fixture
def client(settings: Settings, engine: Engine, pokes: Pokes) -> FlaskClient:
    """Asks with the administrator's key."""
    made: FlaskClient = create(settings, engine, pokes).test_client()
    made.environ_base["HTTP_X_API_KEY"] = ADMINISTRATOR_KEY
    return made
