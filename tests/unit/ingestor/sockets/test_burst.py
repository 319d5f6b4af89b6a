"""Events on their way from a connection to the outbox."""

import threading
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.events import Event
from ingestor.sockets.burst import MAX_EVENTS, Burst

EVENTS = [Event(str(number), "trades", "trades.linear.BTCUSDT", b"{}", 1) for number in range(3)]


class FullOutbox:
    """Takes nothing for some calls, of which the first ones fail."""

    def __init__(self, refusals: int = 0, failures: int = 0) -> None:
        self.refusals = refusals
        self.failures = failures
        self.taken: list[tuple[Sequence[Event], bool]] = []

    def put(self, events: Sequence[Event], *, private: bool) -> bool:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not foreseen")
        if self.refusals:
            self.refusals -= 1
            return False
        self.taken.append((events, private))
        return True


def test_what_was_read_together_is_handed_over_together_and_once():
    outbox = FullOutbox()
    burst = Burst(outbox, "private")
    burst.add(EVENTS[:1])
    burst.add(EVENTS[1:])
    burst.flush(threading.Event())
    burst.flush(threading.Event())
    assert outbox.taken == [(EVENTS, True)]


def test_public_events_are_no_private_ones():
    outbox = FullOutbox()
    burst = Burst(outbox, "linear")
    burst.add(EVENTS)
    burst.flush(threading.Event())
    assert [private for _, private in outbox.taken] == [False]


def test_a_full_outbox_is_offered_the_events_until_it_takes_them():
    outbox = FullOutbox(refusals=3)
    burst = Burst(outbox, "private")
    burst.add(EVENTS)
    with capture_logs() as lines:
        burst.flush(threading.Event())
    assert outbox.taken == [(EVENTS, True)]
    assert [line["event"] for line in lines] == [
        "outbox full, reading paused",
        "outbox accepts events, reading resumed",
    ]


def test_events_that_a_full_outbox_never_takes_are_lost_at_shutdown():
    stop = threading.Event()
    stop.set()
    burst = Burst(FullOutbox(refusals=3), "private")
    burst.add(EVENTS)
    with capture_logs() as lines:
        burst.flush(stop)
    assert lines[-1] == {
        "event": "events lost at shutdown",
        "log_level": "critical",
        "endpoint": "private",
        "events": 3,
    }


def test_events_are_offered_again_after_an_outbox_failed():
    outbox = FullOutbox(failures=1)
    burst = Burst(outbox, "linear")
    burst.add(EVENTS[:2])
    with pytest.raises(RuntimeError, match="not foreseen"):
        burst.flush(threading.Event())
    burst.add(EVENTS[2:])
    burst.flush(threading.Event())
    assert outbox.taken == [(EVENTS, False)]


def test_events_that_an_outbox_fails_on_do_not_fill_the_memory():
    outbox = FullOutbox(failures=2)
    burst = Burst(outbox, "linear")
    lost = []
    for events in (EVENTS[:1] * MAX_EVENTS, EVENTS[:1]):
        burst.add(events)
        with capture_logs() as lines, pytest.raises(RuntimeError):
            burst.flush(threading.Event())
        lost.append([(line["event"], line["endpoint"], line["events"]) for line in lines])
    assert lost == [[], [("events lost, outbox failed", "linear", MAX_EVENTS + 1)]]
    burst.add(EVENTS)
    burst.flush(threading.Event())
    assert outbox.taken == [(EVENTS, False)]


def test_after_a_shutdown_nothing_is_offered_again():
    stop, outbox = threading.Event(), FullOutbox(refusals=2)
    stop.set()
    burst = Burst(outbox, "private")
    burst.add(EVENTS)
    burst.flush(stop)
    burst.flush(stop)
    assert outbox.taken == []


def test_events_are_counted_once_the_outbox_has_accepted_them():
    def counted() -> float:
        return REGISTRY.get_sample_value("wsgw_frames_received_total", {"endpoint": "spread"}) or 0.0

    burst = Burst(FullOutbox(failures=1), "spread")
    burst.add(EVENTS)
    before = counted()
    with pytest.raises(RuntimeError):
        burst.flush(threading.Event())
    assert counted() == before
    burst.flush(threading.Event())
    assert counted() == before + 3
