"""One file per table: its columns, its indexes with the query each serves, and all writes to it.

`schema`, `bulk_insert` and `partitions` are shared by several tables.
"""

from common.tables import (
    account_balances,
    account_margin_balances,
    api_keys,
    balance_audits,
    balance_syncs,
    balances,
    connections,
    gaps,
    ingestors,
    instruments,
    queues,
    subscriptions,
    topics,
)
from common.tables.schema import metadata

__all__ = [
    "account_balances",
    "account_margin_balances",
    "api_keys",
    "balance_audits",
    "balance_syncs",
    "balances",
    "connections",
    "gaps",
    "ingestors",
    "instruments",
    "metadata",
    "queues",
    "subscriptions",
    "topics",
]
