"""The metadata of all tables, and column types that they share."""

from typing import Any

from sqlalchemy import Column, ColumnElement, DateTime, MetaData, Numeric, Table, Text, cast
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = DateTime(timezone=True)


class WrittenJSON(UserDefinedType[str]):
    """JSON given as text and stored as written, byte for byte; read it as `cast(column, Text)`."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "JSON"


def amount(name: str) -> Column:  # type: ignore[type-arg]
    """A column for money or a quantity: exact, of any length; Bybit's `""` is stored as NULL."""
    return Column(name, Numeric)


def as_text(table: Table, leaving_out: tuple[str, ...] = ()) -> list[ColumnElement[Any]]:
    """The columns of a table, with amounts as text: all digits, without an exponent, and nothing to convert later."""
    return [
        cast(column, Text).label(column.name) if isinstance(column.type, Numeric) else column
        for column in table.columns
        if column.name not in leaving_out
    ]
