"""How far each lane's events have come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ingestor.delivery.outbox import LaneCounts


@dataclass(slots=True)
class Progress:
    """Compares each observation of the lanes' counts with the previous one: a count that rose means a confirm."""

    _confirmed: dict[str, int] = field(default_factory=dict)
    _confirmed_at: dict[str, datetime] = field(default_factory=dict)
    _waits_since: dict[str, datetime] = field(default_factory=dict)

    def observe(self, lanes: Mapping[str, LaneCounts], now: datetime) -> dict[str, dict[str, object]]:
        """Of each lane: events waiting, time of the newest confirm, and since when events wait without a confirm.

        Times are ISO 8601 or None; `waits_s` is 0.0 while nothing waits.
        """
        return {name: self._observe(name, counts, now) for name, counts in lanes.items()}

    def _observe(self, name: str, counts: LaneCounts, now: datetime) -> dict[str, object]:
        waiting = counts.in_flight + counts.spooled
        confirmed = counts.confirmed > self._confirmed.get(name, 0)
        self._confirmed[name] = counts.confirmed
        if confirmed:
            self._confirmed_at[name] = now
        if confirmed or not waiting:
            self._waits_since.pop(name, None)
        else:
            self._waits_since.setdefault(name, now)
        at = self._confirmed_at.get(name)
        since = self._waits_since.get(name)
        return {
            "waiting": waiting,
            "confirmed_at": at.isoformat() if at else None,
            "waits_since": since.isoformat() if since else None,
            "waits_s": (now - since).total_seconds() if since else 0.0,
        }
