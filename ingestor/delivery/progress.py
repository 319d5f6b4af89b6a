"""How far each lane's events have come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ingestor.delivery.outbox import Counts


@dataclass(slots=True)
class Progress:
    """Compares each look at the lanes' counts with the last one: a count that rose is a confirm that came."""

    _confirmed: dict[str, int] = field(default_factory=dict)
    _confirmed_at: dict[str, datetime] = field(default_factory=dict)
    _waits_since: dict[str, datetime] = field(default_factory=dict)

    def seen(self, lanes: Mapping[str, Counts], now: datetime) -> dict[str, dict[str, object]]:
        return {name: self._seen(name, counts, now) for name, counts in lanes.items()}

    def _seen(self, name: str, counts: Counts, now: datetime) -> dict[str, object]:
        waiting = counts.in_flight + counts.spooled
        came = counts.confirmed > self._confirmed.get(name, 0)
        self._confirmed[name] = counts.confirmed
        if came:
            self._confirmed_at[name] = now
        if came or not waiting:
            self._waits_since.pop(name, None)
        else:
            self._waits_since.setdefault(name, now)
        at, since = self._confirmed_at.get(name), self._waits_since.get(name)
        return {
            "waiting": waiting,
            "confirmed_at": at.isoformat() if at else None,
            "waits_since": since.isoformat() if since else None,
            "waits_s": (now - since).total_seconds() if since else 0.0,
        }
