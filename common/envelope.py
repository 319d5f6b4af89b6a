"""One CloudEvent: what an event on a queue looks like."""

import time
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

CONTENT_TYPE = "application/cloudevents+json"
APP_ID = "ws-gateway"
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """A message ready to be published."""

    id: str
    event_class: str
    routing_key: str
    body: bytes
    timestamp_s: int


def digest(*parts: bytes) -> str:
    """32 hex digits: the same parts give the same id, in every life of the gateway."""
    seed = blake2b(digest_size=16)
    for part in parts:
        seed.update(len(part).to_bytes(8, "big"))
        seed.update(part)
    return seed.hexdigest()


def render(
    *, id: str, source: str, type: str, subject: str, time_ms: int | None, received_ns: int,
    epoch: str, sequence: int, origin: str, data: bytes,
) -> bytes:  # fmt: skip
    """The structured JSON form, attributes in fixed order, `data` last and untouched.

    The texts given must need no JSON escaping; `source` and `subject` come through `escaped`.
    """
    moment = f'"time":"{_rfc3339_ms(time_ms)}",' if time_ms is not None else ""
    head = (
        f'{{"specversion":"1.0","id":"{id}","source":"{source}","type":"{type}","subject":"{subject}",{moment}'
        f'"datacontenttype":"application/json","receivedtime":"{rfc3339_us(received_ns)}","epoch":"{epoch}",'
        f'"sequence":"{sequence:020d}","origin":"{origin}","data":'
    )
    return b"".join((head.encode(), data, b"}"))


def escaped(text: str) -> str:
    """The text as it stands between the quotes of a JSON string."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def rfc3339_us(moment_ns: int) -> str:
    seconds, rest = divmod(moment_ns, _NS_PER_S)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


def _rfc3339_ms(moment_ms: int) -> str:
    seconds, rest = divmod(moment_ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)  # events of the same second follow each other
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
