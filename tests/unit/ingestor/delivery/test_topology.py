"""What the queues' thread has to do, while the broker is away."""

import gc
import weakref

from common import settings
from common.settings import Environment
from ingestor.delivery.plan import Plan
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.topology import Topology


class Remembered(Plan):
    """A plan that a test can ask whether it is still kept."""


def test_only_the_newest_plan_is_kept_while_the_broker_is_away():
    queues = Topology(settings.rabbitmq(Environment({"RABBITMQ_PASSWORD": "x"})), Plan(), Traffic())
    plans = [Remembered() for _ in range(3)]
    kept = [weakref.ref(plan) for plan in plans]
    for plan in plans:
        assert not queues.make(plan, within_s=0.0)
    del plan, plans
    gc.collect()
    assert [ref() is not None for ref in kept] == [False, False, True]
