"""Recorded sessions with the exchange, read from the lines of a recorder."""

import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

SHIPPED = "linear.session.jsonl.gz"
PUBLIC_PATH = "/v5/public/"

_TOPIC = re.compile(r'"topic":\s*"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Recorded:
    at_s: float
    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    category: str
    frames: tuple[Recorded, ...]
    topics: frozenset[str]


class UnusableRecording(ValueError):
    """The file is not what a recorder of a public endpoint writes."""


def shipped() -> Recording:
    return parse(gzip.decompress(resource(SHIPPED)).decode())


def load(path: Path) -> Recording:
    raw = path.read_bytes()
    return parse((gzip.decompress(raw) if path.suffix == ".gz" else raw).decode())


def resource(name: str) -> bytes:
    return files("simulator").joinpath("data", name).read_bytes()


def parse(text: str) -> Recording:
    """Keep the data frames of the first public connection in the file."""
    try:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise UnusableRecording(f"a line is not valid JSON: {error}") from error
    conn, category = _first_public(lines)
    frames = tuple(_data_frames(line for line in lines if line["t"] == "recv" and line["conn"] == conn))
    if not frames:
        raise UnusableRecording("the recording holds no frame that names a topic")
    return Recording(category, frames, frozenset(frame.topic for frame in frames))


def _first_public(lines: list[dict[str, object]]) -> tuple[str, str]:
    for line in lines:
        path = urlsplit(str(line.get("addr", ""))).path
        if path.startswith(PUBLIC_PATH):
            return str(line["conn"]), path.removeprefix(PUBLIC_PATH)
    raise UnusableRecording(f"no line's addr names an endpoint below {PUBLIC_PATH}")


def _data_frames(lines: Iterable[dict[str, object]]) -> Iterable[Recorded]:
    first_s: float | None = None
    for line in lines:
        text = str(line["data"])
        if found := _TOPIC.search(text):
            at_s = float(str(line["ts"]))
            first_s = at_s if first_s is None else first_s
            yield Recorded(at_s - first_s, found[1], text)
