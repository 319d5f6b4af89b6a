"""What the bridges share: names and arguments, nothing that runs per event."""

import argparse
import json
from dataclasses import dataclass

from bench.frames import topics
from common.channels import of_topic
from common.topology import EVENTS

EXCHANGE = EVENTS
WINDOW = 2_000  # unconfirmed messages, as many as the gateway allows itself


@dataclass(frozen=True, slots=True)
class Arguments:
    websocket: str
    amqp: str


def arguments() -> Arguments:
    parser = argparse.ArgumentParser()
    parser.add_argument("websocket")
    parser.add_argument("amqp")
    given = parser.parse_args()
    return Arguments(given.websocket, given.amqp)


def keys() -> dict[str, str]:
    """Topic to routing key."""
    return {topic: of_topic("linear", topic).routing_key for topic in topics()}


def subscribe() -> str:
    return json.dumps({"op": "subscribe", "args": topics()})
