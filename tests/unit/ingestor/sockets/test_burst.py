"""Events on their way from a connection to the outbox."""

import threading
from collections.abc import Sequence

from structlog.testing import capture_logs

from common.events import Event
from ingestor.sockets.burst import Burst

EVENTS = [Event(str(number), "trades", "trades.linear.BTCUSDT", b"{}", 1) for number in range(3)]


class FullOutbox:
    """Takes nothing for some calls."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: list[tuple[Sequence[Event], bool]] = []

    def put(self, events: Sequence[Event], *, private: bool) -> bool:
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
