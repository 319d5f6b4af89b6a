"""How often somebody may ask."""

import os

from api.http.rate_limit import Counts


def test_as_many_as_allowed_pass_in_any_second():
    counts = Counts()
    assert [counts.allow("a", 3, now=7.0) for _ in range(4)] == [True, True, True, False]
    assert not counts.allow("a", 3, now=8.0)
    assert counts.allow("a", 3, now=8.4)


def test_askers_are_counted_apart():
    counts = Counts()
    assert counts.allow("a", 1, now=7.0)
    assert counts.allow("b", 1, now=7.0)


def test_a_refused_request_is_not_held_against_the_asker():
    counts = Counts()
    for _ in range(50):
        counts.allow("a", 1, now=7.0)
    assert counts.allow("a", 1, now=8.1)


def test_workers_count_together():
    counts = Counts()
    child = os.fork()
    if child == 0:
        os._exit(0 if counts.allow("a", 1, now=7.0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not counts.allow("a", 1, now=7.0)


def test_a_crowd_of_strangers_takes_no_more_memory_and_stops_nobody():
    counts = Counts()
    assert all(counts.allow(f"stranger {number}", 1, now=7.0) for number in range(20_000))
