"""docs/health.md lists the queue alarms with the thresholds of the code."""

import re
from pathlib import Path

from ingestor.delivery import queue_alarms

PAGE = (Path(__file__).parents[3] / "docs" / "health.md").read_text()


def thresholds(alarm: str) -> list[float]:
    """The numbers in the columns `warning` and `critical` of an alarm's row."""
    [row] = re.findall(rf"^\| {alarm}[^|]*\|(.*)\|$", PAGE, re.M)
    return [float(number.replace(",", "")) for number in re.findall(r"[\d,]+", row)]


def test_the_thresholds_are_those_of_the_code():
    assert thresholds("backlog") == list(queue_alarms.BACKLOG)
    assert thresholds("nearly full") == [100 * share for share in queue_alarms.FULL]
    assert thresholds("a service's queue has no consumer") == [queue_alarms.UNREAD_FOR_S / 60]
