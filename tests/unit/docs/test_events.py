"""docs/events.md lists the origins, types and classes of events that there are."""

import json
import re
from pathlib import Path

from common.channels import CHANNEL_TYPES, of_topic
from ingestor.feed.event_stream import EventStream, StreamSource

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text()


def published() -> list[dict[str, str]]:
    stream = EventStream(of_topic("linear", "publicTrade.BTCUSDT"), StreamSource("mainnet", "01J"))
    events = [
        stream.live(b"{}", 1, 1),
        stream.snapshot(b"{}", 1, 1),
        stream.backfill("key", b"{}", 1, 1),
        stream.gap({"state": "open", "from": "x"}, 1),
    ]
    return [json.loads(event.body) for event in events]


def row(member: str) -> str:
    [found] = re.findall(rf"^\| `{member}` \| (.*) \|$", PAGE, re.M)
    return str(found)


def test_every_origin_is_listed():
    origins = {event["origin"] for event in published()}
    assert origins == {"live", "snapshot", "backfill", "gateway"}
    assert set(re.findall(r"`(\w+)`:", row("origin"))) == origins


def test_every_type_is_listed():
    types = {event["type"].replace("trades", "{class}") for event in published()}
    assert set(re.findall(r"`([^`]+)`", row("type"))) == types


def test_every_class_is_listed_with_its_routing_key():
    table = PAGE.split("## Classes, topics and routing keys")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]*) \|.*\| `", table, re.M)
    assert sorted(name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)) == sorted(CHANNEL_TYPES)
