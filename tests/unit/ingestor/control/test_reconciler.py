"""The reconciler before it runs: what it keeps of the reasons to look."""

import gc
import weakref
from pathlib import Path
from typing import Any, cast

from common.notifications import Notification
from common.settings import Retention
from ingestor.control.cache import SubscriptionCache
from ingestor.control.reconciler import Reconciler
from ingestor.control.state_file import StateFile


class Remembered(Notification):
    """One that a test can ask whether it is still kept."""


def test_of_a_flood_of_notifications_a_thousand_are_kept(tmp_path: Path):
    nothing = cast(Any, None)
    reconciler = Reconciler(
        engine=nothing,
        queues=nothing,
        pool=nothing,
        broker_connected=lambda: True,
        held=lambda: None,
        carried_out=lambda _: None,
        cache=SubscriptionCache(StateFile(tmp_path / "subscriptions.json")),
        retention=Retention(24, 100_000),
        market_queue_type="classic",
        own=lambda: (),
    )
    notifications = [Remembered(number, None) for number in range(1_001)]
    first, last = weakref.ref(notifications[0]), weakref.ref(notifications[-1])
    for notification in notifications:
        reconciler.notify(notification)
    del notification, notifications
    gc.collect()
    assert (first() is not None, last() is not None) == (True, False)
