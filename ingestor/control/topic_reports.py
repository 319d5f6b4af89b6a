"""Which rows of the table of topics differ from what the ingestor observes, so that only those are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingestor.observed import ObservedTopic

Key = tuple[str, str]  # endpoint and topic

MAX_CHANGES = 5_000  # rows per transaction: a tenth of a second, so that a heartbeat never waits for them
COUNTERS_PER_S = 2_000.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What one transaction writes; `more` means that the next one should follow at once."""

    written: dict[Key, ObservedTopic] = field(default_factory=dict)
    gone: tuple[Key, ...] = ()
    more: bool = False


class TopicReports:
    """A change of state is written at once, in batches. Counters change all the time, and each second writes some,
    those first that were written longest ago.
    """

    def __init__(self) -> None:
        self._written: dict[Key, ObservedTopic | None] = {}  # longest ago first; None: what its row contains is unknown
        self._counters_at = 0.0

    def changes(self, held: Mapping[Key, ObservedTopic], now: float) -> Changes:
        """What to write next; `now` is monotonic."""
        gone = tuple(self._written.keys() - held.keys())
        changed = {key: topic for key, topic in held.items() if self._has_changed(key, topic)}
        first = dict(list(changed.items())[:MAX_CHANGES])
        more = len(first) < len(changed)
        return Changes(first if more else first | self._counters(held, changed, now), gone, more)

    def written(self, changes: Changes, now: float) -> None:
        """They are committed."""
        for key in changes.gone:
            self._written.pop(key, None)
        for key, topic in changes.written.items():
            self._written.pop(key, None)
            self._written[key] = topic
        if not changes.more:
            self._counters_at = now

    def doubt(self) -> None:
        """The database was unavailable, and may be another one now: all rows are to be written."""
        self._written = dict.fromkeys(self._written)

    def _has_changed(self, key: Key, topic: ObservedTopic) -> bool:
        before = self._written.get(key)
        return before is None or (before.state, before.reason, before.acked_at) != (
            topic.state,
            topic.reason,
            topic.acked_at,
        )

    def _counters(
        self, held: Mapping[Key, ObservedTopic], changed: Mapping[Key, ObservedTopic], now: float
    ) -> dict[Key, ObservedTopic]:
        room = int(min(1.0, now - self._counters_at) * COUNTERS_PER_S)
        found: dict[Key, ObservedTopic] = {}
        for key, before in self._written.items():
            if len(found) >= room:
                break
            if key in held and key not in changed and before is not held[key]:
                found[key] = held[key]
        return found
