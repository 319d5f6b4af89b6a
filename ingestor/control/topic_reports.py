"""Which rows of the table of topics differ from what the ingestor sees, so that only those are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingestor.observed import ObservedTopic

Key = tuple[str, str]  # endpoint and topic

CHANGES_AT_ONCE = 5_000  # rows: a tenth of a second, so that a heartbeat never waits for them
COUNTERS_PER_S = 2_000.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What one transaction writes; `more` says that there is more to do at once."""

    written: dict[Key, ObservedTopic] = field(default_factory=dict)
    gone: tuple[Key, ...] = ()
    more: bool = False


class TopicReports:
    """A change of state is written at once, in pieces. Counters change all the time, and each second writes some,
    those that were written longest ago first.
    """

    def __init__(self) -> None:
        self._written: dict[Key, ObservedTopic | None] = {}  # the longest ago first; None: whatever its row says
        self._counters_at = 0.0

    def changes(self, held: Mapping[Key, ObservedTopic], now: float) -> Changes:
        gone = tuple(self._written.keys() - held.keys())
        news = {key: seen for key, seen in held.items() if self._is_news(key, seen)}
        first = dict(list(news.items())[:CHANGES_AT_ONCE])
        more = len(first) < len(news)
        return Changes(first if more else first | self._counters(held, news, now), gone, more)

    def written(self, changes: Changes, now: float) -> None:
        """They are committed."""
        for key in changes.gone:
            self._written.pop(key, None)
        for key, seen in changes.written.items():
            self._written.pop(key, None)
            self._written[key] = seen
        if not changes.more:
            self._counters_at = now

    def doubt(self) -> None:
        """The database was away, and may be another one now: all rows are to be written."""
        self._written = dict.fromkeys(self._written)

    def _is_news(self, key: Key, seen: ObservedTopic) -> bool:
        before = self._written.get(key)
        return before is None or (before.state, before.reason, before.acked_at) != (
            seen.state,
            seen.reason,
            seen.acked_at,
        )

    def _counters(
        self, held: Mapping[Key, ObservedTopic], news: Mapping[Key, ObservedTopic], now: float
    ) -> dict[Key, ObservedTopic]:
        room = int(min(1.0, now - self._counters_at) * COUNTERS_PER_S)
        found: dict[Key, ObservedTopic] = {}
        for key, before in self._written.items():
            if len(found) >= room:
                break
            if key in held and key not in news and before is not held[key]:
                found[key] = held[key]
        return found
