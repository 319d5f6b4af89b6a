"""How long we wait before trying again."""

import threading

from common.errors import Unavailable
from common.retrying import Backoff, keep_trying


def test_the_first_retry_comes_at_once_and_then_it_waits_longer_each_time():
    backoff = Backoff(first_s=0.5, most_s=4.0)
    assert [backoff.next_s(lambda: 1.0) for _ in range(7)] == [0.0, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_proof_of_life_starts_anew():
    backoff = Backoff()
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.0


def test_it_tries_until_it_works():
    failures = [Unavailable("away"), Unavailable("away")]

    def attempt(backoff: Backoff) -> None:
        if failures:
            raise failures.pop()

    keep_trying(attempt, threading.Event(), "neighbour", Backoff(first_s=0.0))
    assert not failures


def test_it_stops_when_told():
    stop = threading.Event()

    def attempt(backoff: Backoff) -> None:
        stop.set()
        raise Unavailable("away")

    keep_trying(attempt, stop, "neighbour", Backoff(first_s=60.0))
