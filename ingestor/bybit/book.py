"""Whether a book's updates follow each other without a hole."""

from dataclasses import dataclass

from ingestor.bybit.messages import Data

_RESTARTED = 1  # u == 1: the exchange's service restarted, this is a fresh snapshot


@dataclass(slots=True)
class Book:
    """`u` rises by exactly one per message of a topic; a snapshot starts anew (recordings: 100,000 without a hole)."""

    update_id: int | None = None

    def follows(self, data: Data) -> bool:
        """Whether nothing is missing before this push; a hole makes the book wait for its next snapshot."""
        if data.update_id is None:
            return True
        if data.snapshot or data.update_id == _RESTARTED:
            self.update_id = data.update_id
            return True
        if self.update_id is None:
            return True
        intact = data.update_id == self.update_id + 1
        self.update_id = data.update_id if intact else None
        return intact

    def restart(self) -> None:
        self.update_id = None


def book_of(channel_type: str, depth: int | None) -> Book | None:
    """Level 1 is sent as snapshots only and repeats its `u` when nothing changed, so there is nothing to count."""
    return Book() if channel_type == "orderbook" and depth != 1 else None
