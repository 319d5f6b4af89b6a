"""What the ingestor sees of each queue."""

from sqlalchemy import BigInteger, Column, Double, Integer, Table, Text, func

from common.tables.schema import Moment, metadata

queues = Table(
    "queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("class", Text, nullable=False),
    Column("service", Text),
    Column("ready", BigInteger),
    Column("consumers", Integer),
    Column("publish_rate", Double),
    Column("net_rate", Double),
    Column("unused_since", Moment),
    Column("observed_at", Moment, nullable=False, server_default=func.now()),
)
