"""The notification that subscriptions have changed.

It only makes the ingestor read the tables earlier: losing, repeating or forging one changes nothing else.
"""

import json
from dataclasses import dataclass

from common.errors import MALFORMED
from common.foreign import plain

_LONGEST_TRACE_ID = 128


@dataclass(frozen=True, slots=True)
class Notification:
    """`generation` of the newest change, 0 when unknown; `trace_id` of the request that caused it."""

    generation: int
    trace_id: str | None


def encode(notification: Notification) -> bytes:
    return json.dumps({"generation": notification.generation, "trace_id": notification.trace_id}).encode()


def decode(body: bytes) -> Notification:
    """Return generation 0 for a body that is not a notification: the ingestor reads the tables all the same."""
    try:
        found = json.loads(body)
        trace_id = plain(str(found["trace_id"]), _LONGEST_TRACE_ID) if found["trace_id"] else None
        return Notification(int(found["generation"]), trace_id)
    except MALFORMED:
        return Notification(0, None)
