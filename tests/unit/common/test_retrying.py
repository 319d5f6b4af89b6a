"""Retrying until it works or is to stop."""

import threading

import structlog

from common.backoff import Backoff
from common.errors import Unavailable
from common.retrying import keep_trying


def test_it_tries_until_it_works():
    failures = [Unavailable("down"), Unavailable("down")]

    def attempt(backoff: Backoff) -> None:
        if failures:
            raise failures.pop()

    keep_trying(attempt, threading.Event(), "rabbitmq", Backoff(first_s=0.0))
    assert not failures


def test_it_ends_when_stopped():
    stop = threading.Event()

    def attempt(backoff: Backoff) -> None:
        stop.set()
        raise Unavailable("down")

    keep_trying(attempt, stop, "rabbitmq", Backoff(first_s=60.0))


def logged(*proofs_of_life: bool) -> list[tuple[str, str, str]]:
    """The events that are logged for attempts that all fail, some of them after a proof of life."""
    left = list(proofs_of_life)

    def attempt(backoff: Backoff) -> None:
        if not left:
            return
        if left.pop(0):
            backoff.reset()
        raise Unavailable("down")

    with structlog.testing.capture_logs() as events:
        keep_trying(attempt, threading.Event(), "rabbitmq", Backoff(first_s=0.0))
    return [(event["event"], event["dependency"], event["error"]) for event in events]


def test_an_outage_is_logged_once_with_the_name_of_the_dependency():
    assert logged(False, False, False) == [("dependency unavailable", "rabbitmq", "down")]


def test_an_outage_after_a_proof_of_life_is_another_one():
    assert len(logged(False, False, True, False, False, True)) == 3
