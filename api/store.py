"""How the api reaches Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from common import database


class Store:
    """Lends connections; what time heals is raised as Unavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._autocommitting = engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Each statement stands for itself."""
        with database.available(), self._autocommitting.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed at the end: answer after the block, not inside it."""
        with database.available(), self._engine.begin() as connection:
            yield connection
