"""Recording of the statements that are sent to PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

Sent = list[tuple[str, Any]]


@contextmanager
def noted(connection: Connection) -> Iterator[Sent]:
    """Record statements on this connection with their parameters, except EXPLAIN."""
    statements: Sent = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if not statement.startswith("EXPLAIN"):
            statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)
