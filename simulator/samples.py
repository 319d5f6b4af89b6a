"""Real messages of the exchange, as patterns to fill with other values."""

import json
from functools import lru_cache
from typing import Any

from simulator.recordings import resource


def sample(name: str) -> dict[str, Any]:
    """A fresh copy, in the exchange's key order."""
    found: dict[str, Any] = json.loads(_texts()[name])
    return found


def compact(body: object) -> str:
    """JSON as the exchange prints it: no white space."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=1)
def _texts() -> dict[str, str]:
    return {name: compact(body) for name, body in json.loads(resource("samples.json")).items()}
