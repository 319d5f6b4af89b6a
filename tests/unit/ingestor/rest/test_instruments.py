"""When the list of instruments is refreshed."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from common.errors import Unavailable
from common.tables.instruments import Instrument
from ingestor.rest.jobs.instruments import InstrumentsJob
from ingestor.rest.jobs.scheduler import JobWorker


class Exchange:
    def __init__(self) -> None:
        self.unavailable: set[str] = set()

    def instruments(self, category: str) -> list[Instrument]:
        if category in self.unavailable:
            raise Unavailable(f"{category}: 503")
        return [Instrument(category, "BTCUSDT", "BTC", "USDT", "Trading")]


class Store:
    def __init__(self) -> None:
        self.lists: dict[str, list[Instrument]] = {}
        self.unavailable = False

    def replace(self, category: str, listed: Sequence[Instrument]) -> bool:
        if self.unavailable:
            raise Unavailable("no database")
        before = self.lists.get(category)
        self.lists[category] = list(listed)
        return before != self.lists[category]


class Refreshing:
    def __init__(self) -> None:
        self.exchange = Exchange()
        self.store = Store()
        self.changed: list[str] = []
        self.job = InstrumentsJob(self.exchange, self.store, self.changed.append)


@pytest.fixture
def refreshing() -> Refreshing:
    return Refreshing()


def test_every_category_is_stored_and_changes_are_reported_once(refreshing: Refreshing):
    refreshing.job.run_due(now=5.0)
    assert refreshing.changed == list(refreshing.store.lists) == ["linear", "spot", "inverse", "option"]
    assert refreshing.job.due_at == 3605.0
    refreshing.job.run_due(now=3605.0)
    assert len(refreshing.changed) == 4


def test_a_category_that_fails_does_not_hold_up_the_others(refreshing: Refreshing):
    refreshing.exchange.unavailable = {"spot", "option"}
    with pytest.raises(Unavailable, match="spot: 503"):
        refreshing.job.run_due(now=5.0)
    assert refreshing.changed == ["linear", "inverse"]
    assert refreshing.job.due_at == 0.0, "it stays due"


def test_a_database_that_is_unavailable_is_waited_for(refreshing: Refreshing):
    now = [0.0]
    refreshing.store.unavailable = True
    worker = JobWorker(refreshing.job, lambda: now[0])
    worker.step(None)
    assert worker.due_at == 1.0, "a second at least"
    refreshing.store.unavailable = False
    now[0] = 1.0
    worker.step(None)
    assert len(refreshing.changed) == 4


def test_a_change_is_logged_with_its_size(refreshing: Refreshing):
    with capture_logs() as logs:
        refreshing.job.run_due(now=0.0)
    assert logs[0] == {"event": "instruments changed", "log_level": "info", "category": "linear", "symbols": 1}
