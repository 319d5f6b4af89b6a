"""The one catalogue that every table signs, and the column forms they share."""

from sqlalchemy import Column, DateTime, MetaData, Numeric

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = DateTime(timezone=True)


def amount(name: str) -> Column:  # type: ignore[type-arg]
    """Money or a quantity: exact, of any length; Bybit's `""` is NULL."""
    return Column(name, Numeric)
