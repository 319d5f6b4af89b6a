"""Whether a book's updates are complete."""

from dataclasses import dataclass

from ingestor.bybit.messages import Data


@dataclass(slots=True)
class Book:
    """`u` rises by exactly one per message of a topic, and a snapshot begins again.

    websocket/public/orderbook. Only `orderbook.full` is documented to rise by one; in recordings of the others
    100,000 messages did.
    """

    update_id: int | None = None  # of the latest message; None until a snapshot comes

    def follows(self, data: Data) -> bool:
        """Whether nothing is missing before this push; after a hole the book waits for its next snapshot."""
        if data.update_id is None:
            return True
        if data.begins_book:
            self.update_id = data.update_id
            return True
        if self.update_id is None:
            return True
        intact = data.update_id == self.update_id + 1
        self.update_id = data.update_id if intact else None
        return intact

    def restart(self) -> None:
        """The subscription ended: only a snapshot counts from here."""
        self.update_id = None


def book_of(channel_type: str, depth: int | None) -> Book | None:
    """None for other channels, and for level 1: it has snapshots only, and repeats `u` while nothing changes."""
    return Book() if channel_type == "orderbook" and depth != 1 else None
