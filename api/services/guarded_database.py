"""A circuit breaker around the api's connection pool to PostgreSQL."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine

from common import database
from common.errors import Unavailable

ANSWER_WITHIN_S = 2.5  # a caller gets its 503 within 5 s,
PROBED_WITHIN_S = 1.0  # even when it first waited for a thread that waited for the database
_HANGS_AFTER_S = 0.9


class GuardedDatabase:
    """Lends connections; raises Unavailable for what recovers without us.

    While Postgres hangs, one request at a time probes it and the others fail at once: it must not take every thread
    with it. What fails fast needs no such care.
    """

    def __init__(self, engine: Engine) -> None:
        self._statements = database.single_statements(engine)
        self._transactions = database.transactions(engine)
        self._hanging: str | None = None
        self._probing = threading.Lock()
        self._up: bool | None = None
        self.since: datetime | None = None
        """When it last became unavailable or available, as far as this process knows."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Each statement is a transaction of its own."""
        with self._guarded(), self._statements.connect() as connection:
            yield connection

    changing_at_once = reading
    """For a change that is one statement: it is its own transaction, committed when it returns."""

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed at the end: answer after the block, not inside it."""
        with self._guarded(), self._transactions.begin() as connection:
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        probes = self._hanging is not None
        if probes and not self._probing.acquire(blocking=False):
            raise Unavailable(self._hanging or "")
        began_at = time.monotonic()
        try:
            with database.ends_within(PROBED_WITHIN_S if probes else ANSWER_WITHIN_S), database.available():
                yield
        except Unavailable as error:
            self._note(up=False)
            self._hanging = str(error) if time.monotonic() - began_at >= _HANGS_AFTER_S else None
            raise
        finally:
            if probes:
                self._probing.release()
        self._note(up=True)
        self._hanging = None

    def _note(self, *, up: bool) -> None:
        if self._up is not up:
            self._up = up
            self.since = datetime.now(UTC)
