"""Asks REST for what happened in a gap, away from the sockets' threads."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from common.channels import Channel
from ingestor.rest.client import RestHistory

_SPARE_S = 0.25  # to hand the answer over in time
_LISTEN_S = 0.5


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """What happened on this topic? Exchange's clock in ms; an answer after `until`, a monotonic time, is useless."""

    channel: Channel
    since_ms: int
    to_ms: int
    until: float
    answer: Callable[[RestHistory], None]


class HistorySource(Protocol):
    def past(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory: ...


class BackfillJob:
    """One thread, one question after the other."""

    def __init__(self, what: str, source: HistorySource) -> None:
        self.name = f"history of {what}"
        self._source = source
        self._asked: SimpleQueue[BackfillRequest] = SimpleQueue()

    def ask(self, question: BackfillRequest) -> None:
        self._asked.put(question)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                question = self._asked.get(timeout=_LISTEN_S)
            except Empty:
                continue
            until = question.until - _SPARE_S
            if until > time.monotonic():
                question.answer(self._source.past(question.channel, question.since_ms, question.to_ms, until))


class BackfillJobs:
    """A thread each for what must not wait for each other."""

    def __init__(self, source: HistorySource) -> None:
        self._by_type = {kind: BackfillJob(kind, source) for kind in ("execution", "order")}
        self._others = BackfillJob("markets", source)

    @property
    def workers(self) -> list[BackfillJob]:
        return [*self._by_type.values(), self._others]

    def ask(self, question: BackfillRequest) -> None:
        self._by_type.get(question.channel.channel_type, self._others).ask(question)
