"""A recording played to one connection, byte for byte."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from simulator.recordings import Recorded, Recording

QUIET_S = 1.0


class Play:
    """Plays once, starting when no subscribe request has arrived for a while."""

    def __init__(self, recording: Recording, speed: float, push: Callable[[str, str], None]) -> None:
        self._recording = recording
        self._speed = speed
        self._push = push
        self._topics: set[str] = set()
        self._asked = asyncio.Event()
        self._asked_s = 0.0

    def subscribed(self, topics: Iterable[str]) -> None:
        self._topics.update(topics)
        self._asked_s = asyncio.get_running_loop().time()
        self._asked.set()

    def unsubscribed(self, topics: Iterable[str]) -> None:
        self._topics.difference_update(topics)

    async def run(self) -> None:
        await self._asked.wait()
        await self._quiet()
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        for due_s, frame in schedule(self._recording, self._speed):
            if (wait_s := started_s + due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            if frame.topic in self._topics:
                self._push(frame.topic, frame.text)

    async def _quiet(self) -> None:
        loop = asyncio.get_running_loop()
        while (wait_s := self._asked_s + QUIET_S - loop.time()) > 0:
            await asyncio.sleep(wait_s)


def schedule(recording: Recording, speed: float) -> Iterator[tuple[float, Recorded]]:
    """Every recorded frame, with the seconds after the start at which it is due."""
    for frame in recording.frames:
        yield frame.at_s / speed, frame
