"""What the account holds: now, at a moment, and as it changed."""

import uuid

from apiflask import APIBlueprint
from flask import g

from api.http.openapi import alternative
from api.schemas.balances import BalanceHistory, BalanceQuery, Balances, HistoryQuery, Sync
from api.services import balances
from api.services.balances import BalancePage, BalanceSyncs, HistoryPage, SyncStatus
from api.services.guarded_database import GuardedDatabase
from common.views.balances import Span

_UNSETTLED = {
    202: alternative(Sync, "The comparison is not finished yet"),
    502: {"description": "The exchange returned no snapshot"},
}


def routes(database: GuardedDatabase, syncs: BalanceSyncs) -> APIBlueprint:
    blueprint = APIBlueprint("balances", __name__, url_prefix="/api/v1/balances")

    @blueprint.get("")
    @blueprint.input(BalanceQuery, location="query")
    @blueprint.output(Balances)
    def latest(query_data: BalanceQuery) -> BalancePage:
        """The latest balance of each coin and the account's totals, or those as of a moment."""
        with database.reading() as connection:
            return balances.known_at(connection, query_data.at, query_data.coin, query_data.limit, query_data.offset)

    @blueprint.get("/history")
    @blueprint.input(HistoryQuery, location="query")
    @blueprint.output(BalanceHistory)
    def history(query_data: HistoryQuery) -> HistoryPage:
        """Every balance that was reported, newest first by the exchange's clock."""
        span = Span(query_data.coin, query_data.begins, query_data.ends, query_data.cursor)
        with database.reading() as connection:
            return balances.history(connection, span, query_data.limit, query_data.offset)

    @blueprint.post("/sync")
    @blueprint.output(Sync)
    @blueprint.doc(responses=_UNSETTLED)
    def sync() -> tuple[SyncStatus, int, dict[str, str]]:
        """Compare the ledger with the exchange now; the answer comes within 10 s."""
        return _answered(syncs.request(g.trace_id))

    @blueprint.get("/sync/<uuid:sync_id>")
    @blueprint.output(Sync)
    @blueprint.doc(responses=_UNSETTLED)
    def synced(sync_id: uuid.UUID) -> tuple[SyncStatus, int, dict[str, str]]:
        """The result of a comparison."""
        return _answered(syncs.one(sync_id))

    return blueprint


def _answered(sync: SyncStatus) -> tuple[SyncStatus, int, dict[str, str]]:
    return sync, 200 if sync.done_at else 202, {"Location": f"/api/v1/balances/sync/{sync.id}"}
