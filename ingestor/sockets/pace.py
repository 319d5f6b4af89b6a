"""How long to wait before the next read."""

_PER_FRAME_S = 0.2e-6  # per frame and second: 0.6 ms at 3,000/s. A wake-up costs as much as several frames
_MAX_S = 0.004


class ReadPace:
    """The busier a connection, the more each read brings; a frame that comes alone never waits."""

    def __init__(self) -> None:
        self._read_at = 0.0
        self._next_at = 0.0

    def wait_s(self, now: float) -> float:
        return max(0.0, self._next_at - now)

    def read(self, frames: int, now: float) -> None:
        """A read brought this many frames."""
        rate = frames / max(1e-6, now - self._read_at)
        self._read_at = now
        self._next_at = now + min(_MAX_S, rate * _PER_FRAME_S)
