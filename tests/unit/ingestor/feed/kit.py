"""A feed with a clock that the test moves, and what came out of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from common.events import Event
from ingestor.bybit.actions import Deliver
from ingestor.bybit.identity import Element
from ingestor.control.gap_store import GapStore
from ingestor.feed.backfill import BackfillRequest
from ingestor.feed.event_stream import EventStreams, StreamSource
from ingestor.feed.feed import Feed, Instant, Output

WALL_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Answer:
    """What REST answers."""

    elements: tuple[Element, ...] = ()
    healed: str = "yes"
    failures: tuple[str, ...] = ()


@dataclass
class Feeding:
    """Monotonic time is `now`; the wall and the exchange show it from `WALL_NS` on."""

    endpoint: str
    gaps: GapStore = field(default_factory=GapStore)
    now: float = 0.0
    outputs: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.feed = Feed(self.endpoint, EventStreams(StreamSource("simulator", "01J")).of, self.gaps)

    @property
    def at(self) -> Instant:
        wall_ns = WALL_NS + int(self.now * 1e9)
        return Instant(self.now, wall_ns, wall_ns // 1_000_000)

    def deliver(self, topic: str, frame: bytes) -> list[str]:
        return self.keep(self.feed.delivered(Deliver(topic, frame, 1), self.at.wall_ns))

    def interrupt(self, topic: str, cause: str = "reset", since: float | None = None) -> list[str]:
        return self.keep(self.feed.interrupted(topic, cause, self.now if since is None else since, self.at))

    def resume(self, topic: str, next_frame: bytes | None = None, subscribed: bool = True) -> list[str]:
        return self.keep(self.feed.resumed(topic, next_frame, self.at, subscribed=subscribed))

    def drop(self, topic: str, oldest_s: int = WALL_NS // 10**9) -> list[str]:
        return self.keep(self.feed.dropped(topic, oldest_s, self.at))

    def answer(self, request: BackfillRequest, answer: Answer) -> list[str]:
        return self.keep(self.feed.answered(request, answer, self.at))

    def passes(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.keep(self.feed.passed(self.at))

    def keep(self, outputs: Sequence[Output]) -> list[str]:
        """What the outputs are, in short; a frame stands for itself."""
        self.outputs += outputs
        return [short(output) for output in outputs]

    @property
    def requests(self) -> list[BackfillRequest]:
        return [each for each in self.outputs if isinstance(each, BackfillRequest)]

    def events(self, topic: str) -> list[dict[str, Any]]:
        bodies = [json.loads(each.body) for each in self.outputs if isinstance(each, Event)]
        return [body for body in bodies if body["subject"] == topic]


def short(output: Output) -> str:
    if not isinstance(output, Event):
        return type(output).__name__
    body = json.loads(output.body)
    if body["type"] == "bybit.gap":
        return f"gap {body['data']['state']}"
    return f"{body['origin']} {json.dumps(body['data'])}"
