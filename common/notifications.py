"""The notification: "look at Postgres again". It carries no truth; losing, doubling or forging one changes nothing."""

import json
from dataclasses import dataclass

from common.errors import MALFORMED
from common.foreign import plain

_LONGEST_TRACE_ID = 128


@dataclass(frozen=True, slots=True)
class Notification:
    generation: int
    trace_id: str | None


def encode(notification: Notification) -> bytes:
    return json.dumps({"generation": notification.generation, "trace_id": notification.trace_id}).encode()


def decode(body: bytes) -> Notification:
    """Anything that is no notification reads as one that knows nothing: the ingestor looks all the same."""
    try:
        found = json.loads(body)
        trace_id = plain(str(found["trace_id"]), _LONGEST_TRACE_ID) if found["trace_id"] else None
        return Notification(int(found["generation"]), trace_id)
    except MALFORMED:
        return Notification(0, None)
