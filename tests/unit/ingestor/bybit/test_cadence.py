"""When a topic is late."""

import pytest

from common.channels import CHANNEL_TYPES, PRIVATE_CLASSES
from ingestor.bybit.cadence import cadence_of


@pytest.mark.parametrize(
    ("pause_s", "late_after_s"),
    [(0.1, 10.0), (2.0, 40.0), (9.0, 60.0)],  # the floor, twenty times the longest pause, the ceiling of tickers
)
def test_a_topic_is_late_after_far_longer_than_its_longest_pause(pause_s: float, late_after_s: float):
    cadence = cadence_of("ticker")
    for number in range(5):
        cadence.heard(number * pause_s)
    last_at = 4 * pause_s
    assert not cadence.is_late(last_at + late_after_s - 0.01)
    assert cadence.is_late(last_at + late_after_s + 0.01)


def test_a_topic_that_was_never_heard_or_subscribed_is_not_late():
    assert not cadence_of("ticker").is_late(1e9)


@pytest.mark.parametrize("channel_type", ["trades", "liquidation", "order", "balance"])
def test_a_topic_that_may_be_silent_for_hours_is_never_late(channel_type: str):
    cadence = cadence_of(channel_type)
    cadence.heard(0.0)
    assert not cadence.is_late(1e9)


def test_it_is_decided_for_every_channel_type_whether_it_can_be_late():
    never_late = {"trades", "liquidation", "insurance", "adl_alert", "system_status", "raw", *PRIVATE_CLASSES}
    assert {each for each in CHANNEL_TYPES if cadence_of(each).ceiling_s is None} == never_late


def test_the_silence_before_a_new_subscription_does_not_count():
    cadence = cadence_of("ticker")
    cadence.heard(0.0)
    cadence.restart(100.0)
    assert not cadence.is_late(109.0)
    assert cadence.is_late(111.0)


def test_the_patience_doubles_with_each_miss_up_to_sixty_four_times_and_a_push_ends_it():
    cadence = cadence_of("ticker")
    cadence.heard(0.0)
    for factor in (1, 2, 4, 8, 16, 32, 64, 64):
        assert not cadence.is_late(10.0 * factor)
        assert cadence.is_late(10.0 * factor + 0.1)
        cadence.missed_again()
    cadence.heard(0.0)
    assert cadence.is_late(10.1)


def test_every_second_miss_in_a_row_is_the_connection_s():
    cadence = cadence_of("ticker")
    assert [cadence.missed_again() for _ in range(4)] == [False, True, False, True]
    cadence.heard(0.0)
    assert not cadence.missed_again()


def test_a_candle_without_trades_may_be_silent_for_a_minute_after_quick_pushes():
    cadence = cadence_of("kline")
    for second in range(5):
        cadence.heard(float(second))
    assert not cadence.is_late(4.0 + 69.9)
    assert cadence.is_late(4.0 + 70.1)
