"""The plain loop: websocket-client, json, and pika's BlockingConnection, one confirm at a time."""

import json

import pika
import websocket

from bench.bridges.common import EXCHANGE, arguments, keys, subscribe


def main() -> None:
    given, routing_keys = arguments(), keys()
    channel = pika.BlockingConnection(pika.URLParameters(given.amqp)).channel()
    channel.confirm_delivery()
    persistent = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    exchange = websocket.create_connection(given.websocket)
    exchange.send(subscribe())
    while True:
        message = exchange.recv()
        topic = json.loads(message).get("topic")
        if topic is not None:
            channel.basic_publish(EXCHANGE, routing_keys[topic], message, persistent)


if __name__ == "__main__":
    main()
