"""Whether the broker accepts what we publish, for the health report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Link:
    """The state of a publisher's connection, the time of its last change, and the reason."""

    connected: bool
    since: datetime
    reason: str


def worst(links: Sequence[Link]) -> Link:
    """Several connections as one: connected since the last one is, unavailable since the first one is."""
    unavailable = [link for link in links if not link.connected]
    if unavailable:
        return min(unavailable, key=lambda link: link.since)
    return max(links, key=lambda link: link.since)
