"""The poke: "look at Postgres again". It carries no truth; losing, doubling or forging one changes nothing."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Poke:
    generation: int
    trace_id: str | None


def encode(poke: Poke) -> bytes:
    return json.dumps({"generation": poke.generation, "trace_id": poke.trace_id}).encode()


def decode(body: bytes) -> Poke:
    """Anything that is no poke reads as one that knows nothing: the ingestor looks all the same."""
    try:
        found = json.loads(body)
        return Poke(int(found["generation"]), str(found["trace_id"])[:128] if found["trace_id"] else None)
    except (ValueError, TypeError, KeyError, RecursionError):
        return Poke(0, None)
