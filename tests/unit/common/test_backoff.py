"""How long to wait before trying again."""

from common.backoff import Backoff


def test_the_first_retry_is_immediate_and_the_waits_grow_up_to_a_limit():
    backoff = Backoff(first_s=0.5, most_s=4.0)
    assert [backoff.next_s(lambda: 1.0) for _ in range(7)] == [0.0, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_the_first_retry_after_a_reset_is_immediate():
    backoff = Backoff()
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.0
