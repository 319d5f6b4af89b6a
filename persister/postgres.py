"""How the persister takes what Postgres answers."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from common import database
from common.errors import BadMessage, Unavailable

_REFUSED = ("22", "23", "54")  # SQLSTATE classes: the values are at fault, and no waiting heals that
_NOT_MIGRATED = ("42P01", "42703")  # a table or a column is missing


@contextmanager
def reached() -> Iterator[None]:
    """`database.available`; values that Postgres refuses are a BadMessage, tables not made yet are a wait."""
    with database.available():
        try:
            yield
        except DBAPIError as error:
            state = str(getattr(error.orig, "pgcode", None))
            if state.startswith(_REFUSED):
                raise BadMessage(f"the database refuses its values (SQLSTATE {state})") from error
            if state in _NOT_MIGRATED:
                raise Unavailable("the database is not migrated yet (alembic upgrade head)") from error
            raise
