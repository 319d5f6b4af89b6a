"""Retrying until it works or is to stop."""

import threading

from common.backoff import Backoff
from common.errors import Unavailable
from common.retrying import keep_trying


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
