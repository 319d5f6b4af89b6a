"""Rate limiting shared by processes."""

import os

from api.http.rate_limit import RateLimiter


def test_requests_up_to_the_rate_pass_in_any_second():
    limiter = RateLimiter()
    assert [limiter.allow("a", 3, now=7.0) for _ in range(4)] == [True, True, True, False]
    assert not limiter.allow("a", 3, now=8.0)
    assert limiter.allow("a", 3, now=8.4)


def test_callers_are_counted_separately():
    limiter = RateLimiter()
    assert limiter.allow("a", 1, now=7.0)
    assert limiter.allow("b", 1, now=7.0)


def test_a_rejected_request_does_not_count():
    limiter = RateLimiter()
    for _ in range(50):
        limiter.allow("a", 1, now=7.0)
    assert limiter.allow("a", 1, now=8.1)


def test_workers_count_together():
    limiter = RateLimiter()
    child = os.fork()
    if child == 0:
        os._exit(0 if limiter.allow("a", 1, now=7.0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not limiter.allow("a", 1, now=7.0)


def test_many_unknown_callers_take_no_more_memory_and_limit_no_one():
    limiter = RateLimiter()
    assert all(limiter.allow(f"stranger {number}", 1, now=7.0) for number in range(20_000))
