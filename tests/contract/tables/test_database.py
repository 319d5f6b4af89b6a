"""How our processes connect to Postgres."""

from psycopg2.extensions import get_wait_callback

from common import database as databases
from common import settings
from tests.kit.servers import Database


def test_a_connection_asks_kerberos_for_nothing(database: Database):
    engine = databases.engine(settings.postgres(settings.Environment(database.environ())), "test")
    try:
        with engine.connect() as connection:
            dbapi = connection.connection.driver_connection
            assert dbapi is not None
            assert dbapi.info.dsn_parameters["gssencmode"] == "disable"
    finally:
        engine.dispose()


def test_an_engine_leaves_the_waits_of_the_process_as_they_are(database: Database):
    before = get_wait_callback()
    databases.engine(settings.postgres(settings.Environment(database.environ())), "test")
    assert get_wait_callback() is before is not None
