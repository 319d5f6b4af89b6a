"""What a thread knew is still known after it failed and was started again."""

from collections.abc import Callable

from common.channels import Channel, of_topic
from common.events import Event
from ingestor.feed.event_stream import EventStream
from ingestor.rest.client import RestSnapshot
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.scheduler import JobWorker
from ingestor.rest.jobs.snapshots import SnapshotJob
from tests.kit.waiting import eventually
from tests.kit.workers import at_work

WALLET = of_topic("private", "wallet")


class Failing:
    """Fails at its first call."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("not foreseen")


class Exchange(Failing):
    def wallet(self) -> RestSnapshot:
        self.call()
        return RestSnapshot(b"{}", 1)

    def open_orders(self) -> list[RestSnapshot]:
        return []

    def positions(self) -> list[RestSnapshot]:
        return []

    def clock(self) -> tuple[int, float]:
        return 1_700_000_000_000, 0.0


def test_the_wallet_is_asked_for_again():
    told: list[Channel] = []

    def tell(channel: Channel, _make: Callable[[EventStream], Event]) -> bool:
        told.append(channel)
        return True

    snapshots = SnapshotJob(Exchange(), ExchangeClock(), tell, wallet_every_s=0.1)
    snapshots.request(WALLET)
    with at_work(JobWorker(snapshots)):
        eventually(lambda: WALLET in told, 10, "it was asked once, and is asked for again")
