"""When to read next."""

from ingestor.sockets.pace import ReadPace


def test_a_frame_that_comes_alone_is_read_at_once():
    pace = ReadPace()
    assert pace.wait_s(0.0) == 0.0
    pace.read(1, now=10.0)
    pace.read(1, now=11.0)
    assert pace.wait_s(11.0) < 1e-5


def test_a_busy_connection_is_read_less_often_but_never_waits_for_long():
    pace = ReadPace()
    pace.read(1, now=10.0)
    pace.read(30, now=10.01)
    assert 0.0005 < pace.wait_s(10.01) < 0.0007
    assert pace.wait_s(10.02) == 0.0
    pace.read(100_000, now=10.03)
    assert pace.wait_s(10.03) < 0.0041
