"""A service finds in its queues what Bybit sent in a recorded session."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from importlib import resources

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.e2e.reading import Read, Reader, drained
from tests.e2e.stack import Stack
from tests.kit.waiting import eventually

Frames = dict[str, list[bytes]]


def session() -> list[dict[str, str]]:
    """What the recorder wrote down: requests sent and frames received."""
    packed = resources.files("simulator").joinpath("data/linear.session.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()]


def subscribed() -> list[str]:
    """The topics that the recorder subscribed; the liquidations among them stayed silent."""
    sent = [json.loads(entry["data"]) for entry in session() if entry["t"] == "send"]
    return [topic for request in sent for topic in request["args"]]


def recorded() -> Frames:
    """The data frames of the recording, per topic, in order."""
    frames: Frames = defaultdict(list)
    for entry in session():
        if entry["t"] == "recv" and "topic" in (frame := json.loads(entry["data"])):
            frames[frame["topic"]].append(entry["data"].encode())
    return dict(frames)


def by_topic(messages: Iterable[Read]) -> Frames:
    frames: Frames = defaultdict(list)
    for message in messages:
        frames[json.loads(message.body)["subject"]].append(message.data)
    return dict(frames)


def test_every_recorded_frame_arrives_byte_for_byte_in_order_once(stack: Stack):
    expected = recorded()
    assert sum(map(len, expected.values())) == 2529
    stack.simulate("--exact", "--speed", "4")
    stack.start("api")
    queues = sorted({stack.subscribe("e2e", topic=topic)["queue"] for topic in subscribed()})
    stack.start("ingestor")
    stack.live("e2e")

    with Reader(stack.broker, tuple(queues)) as reader:
        eventually(lambda: len(reader.live) >= 2529, 60, "all recorded frames arrived")
        first_life = list(reader.messages)  # the first life knows of nothing missed
    assert by_topic(first_life) == expected
    for message in first_life:
        event = JSONFormat().read(CloudEvent, message.body)
        assert event.get_id() == message.properties.message_id
        assert event.get_type() == f"bybit.{message.properties.type}"
        assert event.get_source() == "/bybit/simulator/linear"
    assert_counted_from_one(first_life)

    # the class queues have their own complete copy
    assert by_topic(drained(stack.broker, [queue.removesuffix(".e2e") for queue in queues])) == expected

    # a second life of the gateway: the same recording, the same ids
    assert stack.processes["ingestor"].stop() == 0
    stack.start("ingestor")
    with Reader(stack.broker, tuple(queues)) as reader:
        eventually(lambda: len(reader.live) >= 2529, 60, "all recorded frames arrived again")
        second_life = reader.live
    assert by_topic(second_life) == expected
    assert ids(second_life) == ids(first_life)


def ids(messages: Iterable[Read]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        found[json.loads(message.body)["subject"]].append(message.properties.message_id)
    return dict(found)


def assert_counted_from_one(messages: Iterable[Read]) -> None:
    sequences: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        event = json.loads(message.body)
        sequences[event["subject"]].append(int(event["sequence"]))
    for subject, counted in sequences.items():
        assert counted == list(range(1, len(counted) + 1)), subject
