"""PostgreSQL: engines, and its errors as ours, with every wait bounded."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import psycopg2
import psycopg2.extensions
import sqlalchemy
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, connection
from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common import settings, tls
from common.errors import BadMessage, Unavailable
from common.foreign import plain

CONNECTED_WITHIN_S = 3.0  # to one of several hosts
ANSWER_WITHIN_S = 6.0  # above the server's own statement_timeout: reached only when the server is frozen
_SESSION = "-c timezone=UTC -c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000"
_ends_at: ContextVar[float] = ContextVar("ends_at", default=float("inf"))
_AWAY = ("08", "57P0", "53", "58", "40001", "40P01", "25006", "55P03", "57014")  # SQLSTATE classes that pass with time
_READ_ONLY = "25006"
_REFUSED = ("22", "23", "54")  # classes for invalid values
_CHECK_FAILED = "23514"
_NOT_MIGRATED = ("42P01", "42703")  # a table or a column is missing


def limit_waits(answer_within_s: float = ANSWER_WITHIN_S) -> None:
    """Bound every wait of psycopg2 in this process. Call it once where the process is composed, before connecting."""
    psycopg2.extensions.set_wait_callback(_wait_within(answer_within_s))


class Connector:
    """Opens connections to the first host that accepts one, beginning with the last one that did.

    libpq can do the same (libpq-connect, "Specifying Multiple Hosts"), but bounds no wait for a host while psycopg2
    waits for it in `limit_waits`: a frozen first host would keep every connection from the second.
    """

    def __init__(self, postgres: settings.Postgres, application_name: str) -> None:
        self._hosts = postgres.hosts
        self._several = len(postgres.hosts) > 1
        self._parameters = _parameters(postgres, application_name)

    def connect(self) -> connection:
        """Raises psycopg2.OperationalError with the error of each host, and the setting to change where TLS failed."""
        errors: list[str] = []
        for host, port in self._hosts:
            if errors and time.monotonic() >= _ends_at.get():
                break  # the caller stopped waiting, so the next host was not tried, and is first the next time
            try:
                with ends_within(CONNECTED_WITHIN_S) if self._several else nullcontext():
                    opened: connection = psycopg2.connect(host=host, port=port, **self._parameters)
                    return opened
            except psycopg2.OperationalError as error:
                at = f"{host}:{port}: " if self._several else ""
                errors.append(at + tls.explained(_first_line(error), tls.POSTGRES))
                self._try_last((host, port))
        raise psycopg2.OperationalError("; ".join(errors))

    def _try_last(self, failed: tuple[str, int]) -> None:
        self._hosts = (*(each for each in self._hosts if each != failed), failed)


def engine(
    postgres: settings.Postgres,
    application_name: str,
    *,
    pool_size: int = 2,
    max_overflow: int = 2,
    autocommit: bool = False,
    checkout_within_s: float = 3.0,
) -> Engine:
    """Create an engine whose errors do not contain row values. `limit_waits` bounds its statements.

    With `autocommit` each statement is a transaction; use `transactions` where several belong together.
    """
    mode: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    made = sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        **mode,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=checkout_within_s,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
    )
    connector = Connector(postgres, application_name)
    event.listen(made, "do_connect", lambda *_: connector.connect())
    if len(postgres.hosts) > 1:
        event.listen(made, "handle_error", _leave_standby)
    return made.execution_options(autocommits=autocommit)


def single_statements(engine: Engine) -> Engine:
    """The same connection pool, with each statement committed by itself."""
    if engine.get_execution_options().get("autocommits"):
        return engine  # setting the mode at each checkout takes as long as a statement
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def transactions(engine: Engine) -> Engine:
    """The same connection pool, with explicit transactions."""
    return engine.execution_options(isolation_level="READ COMMITTED")


class Faulty(Unavailable):
    """PostgreSQL returns an error that does not pass with time, such as a missing permission or damaged data."""


@contextmanager
def available() -> Iterator[None]:
    """Raise Unavailable for errors that pass with time; let errors of our own code through."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("every database connection is in use") from error
    except DBAPIError as error:
        if _is_transient(error):
            raise Unavailable(_text(error)) from error
        raise


@contextmanager
def retriable() -> Iterator[None]:
    """Like `available`, and any other database error is Faulty: a worker logs it, waits and retries."""
    try:
        with available():
            yield
    except DBAPIError as error:
        raise Faulty(f"{_text(error)} (SQLSTATE {_state(error)})") from error
    except SQLAlchemyError as error:
        raise Faulty(plain(f"{type(error).__name__}: {error}")) from error


@contextmanager
def storing() -> Iterator[None]:
    """Like `retriable`, with BadMessage for values that PostgreSQL refuses, and Unavailable for missing tables."""
    with retriable():
        try:
            yield
        except DBAPIError as error:
            state = str(_state(error))
            if state == _CHECK_FAILED and not _constraint(error):
                raise Unavailable("the partition of the row is being added") from error
            if state.startswith(_REFUSED):
                raise BadMessage(f"the database refuses its values (SQLSTATE {state})") from error
            if state in _NOT_MIGRATED:
                raise Unavailable("the database is not migrated yet (alembic upgrade head)") from error
            raise


@contextmanager
def ends_within(limit_s: float) -> Iterator[None]:
    """Limit the total wait for the database within this block, connecting included."""
    token = _ends_at.set(min(_ends_at.get(), time.monotonic() + limit_s))
    try:
        yield
    finally:
        _ends_at.reset(token)


def _parameters(postgres: settings.Postgres, application_name: str) -> dict[str, Any]:
    """Everything that libpq takes but host and port."""
    tls_files = {"sslrootcert": postgres.sslrootcert, "sslcert": postgres.sslcert, "sslkey": postgres.sslkey}
    role = {"target_session_attrs": "read-write"} if len(postgres.hosts) > 1 else {}
    return {
        "user": postgres.user,
        "password": postgres.password,
        "dbname": postgres.database,
        "application_name": application_name,
        "connect_timeout": 3,
        "gssencmode": "disable",  # unused, and a request for a Kerberos ticket would be another wait
        "tcp_user_timeout": 10000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": _SESSION,
        "sslmode": postgres.sslmode,
        **{name: file for name, file in tls_files.items() if file},
        **role,
    }


def _leave_standby(context: ExceptionContext) -> None:
    """Close every pooled connection to a server that refuses writes: another host has become the primary."""
    if getattr(context.original_exception, "pgcode", None) == _READ_ONLY:
        context.is_disconnect = True


def _is_transient(error: DBAPIError) -> bool:
    state = _state(error)
    if state is None:
        return (
            isinstance(error.orig, psycopg2.OperationalError | psycopg2.InterfaceError) or error.connection_invalidated
        )
    return state.startswith(_AWAY)


def _state(error: DBAPIError) -> str | None:
    """The SQLSTATE; None for an error that the server did not send."""
    state: str | None = getattr(error.orig, "pgcode", None)
    return state


def _constraint(error: DBAPIError) -> str | None:
    """The name of the violated constraint; None for the bounds of a partition."""
    name: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return name


def _text(error: DBAPIError) -> str:
    return _first_line(error.orig)


def _first_line(error: BaseException | None) -> str:
    return plain(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)


def _wait_within(limit_s: float):  # type: ignore[no-untyped-def]
    """A wait callback for psycopg2: a frozen server raises instead of blocking for ever."""

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
