"""Requests that wait for a result."""

import pytest

from api.services.long_poll import LongPollSlots, preferred_s


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("wait=3", 3),
        ("respond-async, wait=3", 3),
        ("Wait=3", 3),
        ("wait=60", 10),
        ("wait=0", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=x", 0),
        ("wait", 0),
        ("await=3", 0),
        ("wait=" + "9" * 50, 0),
        ("", 0),
    ],
)
def test_a_preference_is_kept_within_reason(prefer: str, expected: int):
    assert preferred_s(prefer) == expected


def test_it_answers_as_soon_as_it_is_settled():
    values = iter(["pending", "live"])
    assert LongPollSlots().wait(lambda: next(values), lambda found: found == "live", within_s=10) == "live"


def test_it_answers_with_the_last_value_at_the_deadline():
    assert LongPollSlots().wait(lambda: "pending", lambda found: found == "live", within_s=0.0) == "pending"


def test_a_request_does_not_wait_for_a_slot():
    slots = LongPollSlots(slots=1)
    inner = []

    def poll() -> str:
        inner.append(slots.wait(lambda: "never", bool, within_s=10))
        return "live"

    assert slots.wait(poll, bool, within_s=10) == "live"
    assert inner == [None]


def test_a_slot_is_free_again_after_an_error():
    slots = LongPollSlots(slots=1)

    def broken() -> str:
        raise LookupError

    with pytest.raises(LookupError):
        slots.wait(broken, bool, within_s=1)
    assert slots.wait(lambda: "live", bool, within_s=1) == "live"
