"""Postgres, with every wait bounded."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg2
import psycopg2.extensions
import sqlalchemy
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, connection
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common import settings
from common.errors import BadMessage, Unavailable
from common.foreign import plain

ANSWER_WITHIN_S = 6.0  # above the server's own statement_timeout: reached only when the server is frozen
_SESSION = "-c timezone=UTC -c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000"
_ends_at: ContextVar[float] = ContextVar("ends_at", default=float("inf"))
_AWAY = ("08", "57P0", "53", "58", "40001", "40P01", "25006", "55P03", "57014")  # SQLSTATE classes that time heals
_REFUSED = ("22", "23", "54")  # those that values are at fault for
_CHECK_FAILED = "23514"
_NOT_MIGRATED = ("42P01", "42703")  # a table or a column is missing


def limit_waits(answer_within_s: float = ANSWER_WITHIN_S) -> None:
    """Bound every wait of psycopg2 in this process; for the one who puts the process together, before it connects."""
    psycopg2.extensions.set_wait_callback(_wait_within(answer_within_s))


def url(postgres: settings.Postgres) -> URL:
    return URL.create(
        "postgresql+psycopg2",
        username=postgres.user,
        password=postgres.password,
        host=postgres.host,
        port=postgres.port,
        database=postgres.database,
    )


def engine(
    postgres: settings.Postgres,
    application_name: str,
    pool_size: int = 2,
    max_overflow: int = 2,
    autocommit: bool = False,
    lent_within_s: float = 3.0,
) -> Engine:
    """An engine whose errors hide the rows. `limit_waits` makes its statements end, whatever the server does.

    With `autocommit` each statement stands for itself, and `transactions` makes the exception.
    """
    tls = {"sslmode": postgres.sslmode} | ({"sslrootcert": postgres.sslrootcert} if postgres.sslrootcert else {})
    mode: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    made = sqlalchemy.create_engine(
        url(postgres),
        **mode,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=lent_within_s,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "application_name": application_name,
            "connect_timeout": 3,
            "gssencmode": "disable",  # nobody uses it, and asking Kerberos for a ticket is a wait of its own
            "tcp_user_timeout": 10000,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": _SESSION,
            **tls,
        },
    )
    return made.execution_options(autocommits=autocommit)


def single_statements(engine: Engine) -> Engine:
    """The same connections, each statement committed by itself."""
    if engine.get_execution_options().get("autocommits"):
        return engine  # asking for the mode at each checkout takes as long as a statement
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def transactions(engine: Engine) -> Engine:
    """The same connections, with transactions that begin and end."""
    return engine.execution_options(isolation_level="READ COMMITTED")


class Faulty(Unavailable):
    """Postgres answers with an error that waiting alone does not mend: it forbids something, or is damaged."""


@contextmanager
def available() -> Iterator[None]:
    """Raise Unavailable for what time heals; leave our own mistakes as they are."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("every database connection is in use") from error
    except DBAPIError as error:
        if _heals(error):
            raise Unavailable(_words(error)) from error
        raise


@contextmanager
def retriable() -> Iterator[None]:
    """`available`; and whatever else the database answers is Faulty: a worker logs it, waits and goes on."""
    try:
        with available():
            yield
    except DBAPIError as error:
        raise Faulty(f"{_words(error)} (SQLSTATE {_state(error)})") from error
    except SQLAlchemyError as error:
        raise Faulty(plain(f"{type(error).__name__}: {error}")) from error


@contextmanager
def storing() -> Iterator[None]:
    """`retriable`; and values that Postgres refuses are a BadMessage, tables that are not made yet are a wait."""
    with retriable():
        try:
            yield
        except DBAPIError as error:
            state = str(_state(error))
            if state == _CHECK_FAILED and not _constraint(error):
                raise Unavailable("a partition is being added that the row belongs to") from error
            if state.startswith(_REFUSED):
                raise BadMessage(f"the database refuses its values (SQLSTATE {state})") from error
            if state in _NOT_MIGRATED:
                raise Unavailable("the database is not migrated yet (alembic upgrade head)") from error
            raise


@contextmanager
def ends_within(limit_s: float) -> Iterator[None]:
    """All waiting for the database in this block, connecting included, ends within this time."""
    token = _ends_at.set(time.monotonic() + limit_s)
    try:
        yield
    finally:
        _ends_at.reset(token)


def _heals(error: DBAPIError) -> bool:
    state = _state(error)
    if state is None:
        return (
            isinstance(error.orig, psycopg2.OperationalError | psycopg2.InterfaceError) or error.connection_invalidated
        )
    return state.startswith(_AWAY)


def _state(error: DBAPIError) -> str | None:
    """None of an error that the server did not send."""
    state: str | None = getattr(error.orig, "pgcode", None)
    return state


def _constraint(error: DBAPIError) -> str | None:
    """Its name; the bounds of a partition have none."""
    name: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return name


def _words(error: DBAPIError) -> str:
    return plain(str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__)


def _wait_within(limit_s: float):  # type: ignore[no-untyped-def]
    """psycopg2 waits here for the server: a frozen one raises instead of hanging for ever."""

    def wait(conn: connection) -> None:
        began_at = time.monotonic()
        ends_at = min(began_at + limit_s, _ends_at.get())
        while (state := conn.poll()) != POLL_OK:
            poller = select.poll()
            poller.register(conn.fileno(), {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}[state])
            if not poller.poll(max(0.0, ends_at - time.monotonic()) * 1000):
                waited_s = max(0.0, ends_at - began_at)
                raise psycopg2.OperationalError(f"the database did not answer within {waited_s:.1f} s")

    return wait
