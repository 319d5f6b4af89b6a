"""The CloudEvent: the form of an event on a queue (cloudevents.io, JSON format 1.0)."""

import time
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

CONTENT_TYPE = "application/cloudevents+json"
APP_ID = "ws-gateway"
_NS_PER_S = 1_000_000_000


class Event(NamedTuple):
    """A message ready to be published; `body` is the CloudEvent as JSON."""

    id: str
    event_class: str
    routing_key: str
    body: bytes
    timestamp_s: int


class Dropped(NamedTuple):
    """Events that were given up before they were published; `oldest_s` is when the oldest was read, in Unix time."""

    routing_key: str
    events: int
    oldest_s: int


def digest(*parts: bytes) -> str:
    """32 hex digits; the same parts give the same id in every run."""
    seed = blake2b(digest_size=16)
    for part in parts:
        seed.update(len(part).to_bytes(8, "big"))
        seed.update(part)
    return seed.hexdigest()


class Form:
    """The part that all events of one type in one event stream share: attributes in a fixed order.

    The arguments must need no JSON escaping; pass `source` and `subject` through `escaped`.
    """

    def __init__(self, *, source: str, type: str, subject: str, epoch: str, origin: str) -> None:
        self._identity = f'","source":"{source}","type":"{type}","subject":"{subject}",'
        self._position = f'","epoch":"{epoch}","sequence":"'
        self._tail = f'","origin":"{origin}","data":'

    def render(self, id: str, time_ms: int | None, received_ns: int, sequence: int, data: bytes) -> bytes:
        """One event as JSON. `data`, itself JSON, is not changed; `time_ms` is None when the exchange sent none."""
        moment = f'"time":"{_rfc3339_ms(time_ms)}",' if time_ms is not None else ""
        head = (
            f'{{"specversion":"1.0","id":"{id}{self._identity}{moment}"datacontenttype":"application/json",'
            f'"receivedtime":"{rfc3339_us(received_ns)}{self._position}{sequence:020d}{self._tail}'
        )
        return b"".join((head.encode(), data, b"}"))


def escaped(text: str) -> str:
    """The text as it appears between the quotes of a JSON string; control characters are not expected."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


@lru_cache(maxsize=8)  # frames that were read together share theirs
def rfc3339_us(moment_ns: int) -> str:
    seconds, rest = divmod(moment_ns, _NS_PER_S)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=64)
def _rfc3339_ms(moment_ms: int) -> str:
    seconds, rest = divmod(moment_ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)  # events of the same second follow each other
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
