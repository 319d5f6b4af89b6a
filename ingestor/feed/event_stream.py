"""One topic's event stream: ids, numbers and the envelope."""

from dataclasses import dataclass
from hashlib import blake2b

import orjson

from common import events
from common.channels import Channel
from common.events import Event, Form


@dataclass(frozen=True, slots=True)
class StreamSource:
    """What all events of one run of the gateway have in common."""

    environment: str
    epoch: str


class EventStream:
    """Makes a topic's events, numbered from 1 within an epoch. One thread at a time uses it."""

    def __init__(self, channel: Channel, source: StreamSource) -> None:
        self.channel = channel
        self.sequence = 0
        self.last_id: str | None = None
        self._source = source
        self._live = self._form(f"bybit.{channel.channel_type}", "live")
        self._seed = blake2b(digest_size=16)
        for part in (channel.endpoint.encode(), channel.topic.encode()):
            self._seed.update(len(part).to_bytes(8, "big") + part)

    def live(self, frame: bytes, time_ms: int | None, received_ns: int) -> Event:
        """Bybit's frame, unchanged; the same bytes have the same id in every epoch.

        `time_ms` is the exchange's time of it, None where it gives none; `received_ns` when it was read.
        """
        self.last_id = event_id = self.id_of(frame)
        return self._event(self._live, event_id, frame, time_ms, received_ns)

    def id_of(self, frame: bytes) -> str:
        digest = self._seed.copy()
        digest.update(frame)
        return digest.hexdigest()

    def snapshot(self, result: bytes, version_ms: int, received_ns: int) -> Event:
        """A REST result; its version is the exchange's time of the request."""
        form = self._form(f"bybit.{self.channel.channel_type}.snapshot", "snapshot")
        return self._event(form, self.snapshot_id(result, version_ms), result, version_ms, received_ns)

    def snapshot_id(self, result: bytes, version_ms: int) -> str:
        """The id of that event, known before it is made. Any thread may call this."""
        return events.digest(*self._identity(), b"snapshot", str(version_ms).encode(), result)

    def backfill(self, key: str, element: bytes, time_ms: int, received_ns: int) -> Event:
        """One element of a REST list that no frame brought; the same key has the same id in every epoch."""
        event_id = events.digest(*self._identity(), b"backfill", key.encode())
        form = self._form(f"bybit.{self.channel.channel_type}.backfill", "backfill")
        return self._event(form, event_id, element, time_ms, received_ns)

    def gap(self, gap: dict[str, object], received_ns: int) -> Event:
        """A gap opened or closed; `gap` is the data as docs/events.md shows it."""
        event_id = events.digest(*self._identity(), str(gap["state"]).encode(), str(gap["from"]).encode())
        body = self._body(self._form("bybit.gap", "gateway"), event_id, orjson.dumps(gap), None, received_ns)
        return Event(event_id, "gap", self.channel.gap_key, body, received_ns // 1_000_000_000)

    def _identity(self) -> tuple[bytes, bytes]:
        return self.channel.endpoint.encode(), self.channel.topic.encode()

    def _event(self, form: Form, id: str, data: bytes, time_ms: int | None, received_ns: int) -> Event:
        body = self._body(form, id, data, time_ms, received_ns)
        return Event(id, self.channel.channel_type, self.channel.routing_key, body, received_ns // 1_000_000_000)

    def _body(self, form: Form, id: str, data: bytes, time_ms: int | None, received_ns: int) -> bytes:
        self.sequence += 1
        return form.render(id, time_ms, received_ns, self.sequence, data)

    def _form(self, type: str, origin: str) -> Form:
        return Form(
            source=events.escaped(f"/bybit/{self._source.environment}/{self.channel.endpoint}"),
            type=type,
            subject=events.escaped(self.channel.topic),
            epoch=self._source.epoch,
            origin=origin,
        )


class EventStreams:
    """The event stream of every topic, for all connections that ever carry it."""

    def __init__(self, source: StreamSource) -> None:
        self._source = source
        self._by_topic: dict[tuple[str, str], EventStream] = {}

    def of(self, channel: Channel) -> EventStream:
        key = (channel.endpoint, channel.topic)
        stream = self._by_topic.get(key)
        return stream if stream is not None else self._by_topic.setdefault(key, EventStream(channel, self._source))
