"""How full the queues are, and how fast that changes."""

from ingestor.delivery.queue_alarms import Level
from ingestor.delivery.queue_monitor import Depth, QueueMonitor, Traffic

KEYS = ("trades.linear.BTCUSDT", "gap.trades.linear.BTCUSDT")


def observe(monitor: QueueMonitor, now: float, ready: int = 0, consumers: int = 1) -> Depth:
    depth = monitor.observe("ws-gateway.trades.demo", ready, consumers, KEYS, 100_000, now)
    monitor.by_name[depth.name] = depth
    return depth


def test_the_first_observation_has_no_rates():
    depth = observe(QueueMonitor(Traffic()), now=0.0)
    assert (depth.net_rate, depth.publish_rate) == (None, None)


def test_rates_are_per_second_between_two_observations():
    traffic = Traffic()
    monitor = QueueMonitor(traffic)
    observe(monitor, now=0.0, ready=10)
    for _ in range(50):
        traffic.count("trades.linear.BTCUSDT")
        traffic.count("trades.linear.ETHUSDT")
    depth = observe(monitor, now=5.0, ready=30)
    assert (depth.net_rate, depth.publish_rate) == (4.0, 10.0)


def test_a_key_with_a_wildcard_stands_for_all_that_begin_like_it():
    traffic = Traffic()
    for key in ("trades.linear.BTCUSDT", "gap.trades.linear.BTCUSDT", "ticker.linear.BTCUSDT"):
        traffic.count(key)
    assert traffic.of(["trades.#", "gap.trades.#"]) == 2


def test_a_queue_is_read_since_the_first_observation_with_a_consumer():
    monitor = QueueMonitor(Traffic())
    assert observe(monitor, now=1.0, consumers=0).read_since is None
    assert observe(monitor, now=5.0, consumers=1).read_since == 5.0
    assert observe(monitor, now=9.0, consumers=2).read_since == 5.0
    assert observe(monitor, now=12.0, consumers=0).read_since is None
    assert observe(monitor, now=15.0, consumers=1).read_since == 15.0


def test_a_queue_is_unread_since_the_first_observation_without_a_consumer():
    monitor = QueueMonitor(Traffic())
    observe(monitor, now=0.0, consumers=1)
    observe(monitor, now=5.0, consumers=0)
    assert observe(monitor, now=604.0, consumers=0).alarm.level is Level.OK
    assert observe(monitor, now=605.0, consumers=0).alarm.level is Level.WARNING
    assert observe(monitor, now=610.0, consumers=1).alarm.level is Level.OK
