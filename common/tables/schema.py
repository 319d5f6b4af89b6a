"""The one catalogue that every table signs, and the column forms they share."""

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
    """JSON that comes in as text and is kept as it was written; read it back as `cast(column, Text)`."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "JSON"


def amount(name: str) -> Column:  # type: ignore[type-arg]
    """Money or a quantity: exact, of any length; Bybit's `""` is NULL."""
    return Column(name, Numeric)


def as_text(table: Table, leaving_out: tuple[str, ...] = ()) -> list[ColumnElement[Any]]:
    """The columns with amounts as texts: plain digits, every one of them, and nothing to convert on the way out."""
    return [
        cast(column, Text).label(column.name) if isinstance(column.type, Numeric) else column
        for column in table.columns
        if column.name not in leaving_out
    ]
