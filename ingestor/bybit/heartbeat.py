"""When to send a ping, and when a connection counts as dead."""

from dataclasses import dataclass, field

NEVER = float("inf")


@dataclass(slots=True)
class Heartbeat:
    """Of one connection after the other. All times are monotonic, in seconds.

    A JSON ping and its pong count, not those of the WebSocket protocol (websocket/connect).
    """

    ping_after_s: float  # without any frame
    ping_every_s: float  # at the latest
    pong_within_s: float
    opened_at: float
    heard_at: float = field(init=False)  # any frame at all
    _pinged_at: float | None = None
    _pong_due_at: float = NEVER

    def __post_init__(self) -> None:
        self.heard_at = self.opened_at

    def restart(self, now: float) -> None:
        """A connection was opened."""
        self.opened_at = self.heard_at = now
        self._pinged_at = None
        self._pong_due_at = NEVER

    def is_dead(self, now: float) -> bool:
        """Whether a pong is overdue; other frames do not replace it."""
        return now >= self._pong_due_at

    def pings(self, now: float) -> bool:
        """Whether to send a ping now; it then counts as sent."""
        if now < self._ping_due_at():
            return False
        self._pinged_at = now
        self._pong_due_at = min(self._pong_due_at, now + self.pong_within_s)
        return True

    def ponged(self, now: float) -> float:
        """A pong came; returns the seconds since its ping."""
        self._pong_due_at = NEVER
        return now - (self._pinged_at or now)

    def due_at(self) -> float:
        """When the next ping or pong is due."""
        return min(self._ping_due_at(), self._pong_due_at)

    def _ping_due_at(self) -> float:
        silent = max(self.heard_at, self._pinged_at or 0.0) + self.ping_after_s
        return min(silent, (self._pinged_at or self.opened_at) + self.ping_every_s)
