"""How full the queues are, and how fast that changes."""

from ingestor.delivery.queue_alarms import Level
from ingestor.delivery.queue_monitor import Depth, QueueMonitor, Traffic

KEYS = ("trades.linear.BTCUSDT", "gap.trades.linear.BTCUSDT")


def look(depths: QueueMonitor, now: float, ready: int = 0, consumers: int = 1) -> Depth:
    depth = depths.seen("ws-gateway.trades.demo", ready, consumers, KEYS, 100_000, now)
    depths.by_name[depth.name] = depth
    return depth


def test_the_first_look_knows_no_rates():
    depth = look(QueueMonitor(Traffic()), now=0.0)
    assert (depth.net_rate, depth.publish_rate) == (None, None)


def test_rates_are_per_second_between_two_looks():
    traffic = Traffic()
    depths = QueueMonitor(traffic)
    look(depths, now=0.0, ready=10)
    for _ in range(50):
        traffic.count("trades.linear.BTCUSDT")
        traffic.count("trades.linear.ETHUSDT")
    depth = look(depths, now=5.0, ready=30)
    assert (depth.net_rate, depth.publish_rate) == (4.0, 10.0)


def test_a_key_with_a_wildcard_stands_for_all_that_begin_so():
    traffic = Traffic()
    for key in ("trades.linear.BTCUSDT", "gap.trades.linear.BTCUSDT", "ticker.linear.BTCUSDT"):
        traffic.count(key)
    assert traffic.of(["trades.#", "gap.trades.#"]) == 2


def test_a_reader_is_there_since_the_first_look_that_found_one():
    depths = QueueMonitor(Traffic())
    assert look(depths, now=1.0, consumers=0).read_since is None
    assert look(depths, now=5.0, consumers=1).read_since == 5.0
    assert look(depths, now=9.0, consumers=2).read_since == 5.0
    assert look(depths, now=12.0, consumers=0).read_since is None
    assert look(depths, now=15.0, consumers=1).read_since == 15.0


def test_how_long_nobody_reads_is_counted_from_the_first_look_without_a_reader():
    depths = QueueMonitor(Traffic())
    look(depths, now=0.0, consumers=1)
    look(depths, now=5.0, consumers=0)
    assert look(depths, now=604.0, consumers=0).alarm.level is Level.OK
    assert look(depths, now=605.0, consumers=0).alarm.level is Level.WARNING
    assert look(depths, now=610.0, consumers=1).alarm.level is Level.OK
