"""Prometheus metrics of the queues, collected at each scrape."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from common.metrics import PREFIX
from ingestor.delivery.management import UNKNOWN, Consumption
from ingestor.delivery.queue_alarms import LEVELS
from ingestor.delivery.queue_monitor import Depth


class QueueMetrics(Collector):
    """Unknown values have no sample, and neither have queues that are gone."""

    def __init__(
        self, depths: Callable[[], Mapping[str, Depth]], consumptions: Callable[[], Mapping[str, Consumption]]
    ) -> None:
        self._depths = depths
        self._consumptions = consumptions

    def collect(self) -> Iterator[Metric]:
        depths, consumptions = self._depths(), self._consumptions()
        read = {name: consumptions.get(name, UNKNOWN) for name in depths}
        yield _gauge("ready", "Messages ready for delivery", {name: depth.ready for name, depth in depths.items()})
        yield _gauge("consumers", "Consumers", {name: depth.consumers for name, depth in depths.items()})
        yield _gauge(
            "alarm", "0 fine, 1 warning, 2 critical", {n: LEVELS.index(d.alarm.level) for n, d in depths.items()}
        )
        yield _gauge("publish_rate", "Published per second", {n: d.publish_rate for n, d in depths.items()})
        yield _gauge("net_rate", "Growth per second", {n: d.net_rate for n, d in depths.items()})
        yield _gauge("consume_rate", "Acknowledged per second", {n: each.rate for n, each in read.items()})
        oldest = {n: each.oldest_at.timestamp() if each.oldest_at else None for n, each in read.items()}
        yield _gauge("oldest_timestamp_seconds", "When the oldest ready message was published", oldest)


def _gauge(name: str, description: str, values: Mapping[str, float | None]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_queue_{name}", description, labels=["queue"])
    for queue, value in values.items():
        if value is not None:
            family.add_metric([queue], value)
    return family
