"""How old a report of the ingestor may be before it no longer counts; ages are measured by the database's clock."""

from datetime import datetime

from sqlalchemy import ColumnElement, Double, cast, extract, func

FRESH_S = 4.5
"""An older heartbeat does not count: the ingestor writes every second, and we promise to know within 5."""

QUEUES_FRESH_S = 15.0
"""The ingestor measures its queues every 5 s."""


def age_of(since: ColumnElement[datetime], name: str = "age_s") -> ColumnElement[float]:
    """Seconds from `since` until now, as a column of this name."""
    return cast(extract("epoch", func.now() - since), Double).label(name)
