"""The exchange's clock, as derived from its answers."""

import pytest

from ingestor.rest.clock import ExchangeClock

OURS_MS = 1_700_000_000_000


@pytest.fixture
def clock() -> ExchangeClock:
    return ExchangeClock(wall_ms=lambda: float(OURS_MS))


def test_without_an_answer_it_is_our_own(clock: ExchangeClock):
    assert (clock.now_ms(), clock.offset_ms) == (OURS_MS, None)


def test_an_answer_was_right_half_a_round_trip_ago(clock: ExchangeClock):
    clock.observe(OURS_MS + 1000, rtt_s=0.2)
    assert (clock.now_ms(), clock.offset_ms) == (OURS_MS + 1100, 1100.0)


def test_the_newest_answer_counts(clock: ExchangeClock):
    clock.observe(OURS_MS + 1000, rtt_s=0.0)
    clock.observe(OURS_MS - 7, rtt_s=0.0)
    assert clock.now_ms() == OURS_MS - 7


@pytest.mark.parametrize("exchange_ms", [-1, 1_499_999_999_999, 4_102_444_800_001, 10**23])
def test_an_impossible_time_is_ignored(clock: ExchangeClock, exchange_ms: int):
    clock.observe(OURS_MS + 5, rtt_s=0.0)
    clock.observe(exchange_ms, rtt_s=0.0)
    assert clock.now_ms() == OURS_MS + 5
