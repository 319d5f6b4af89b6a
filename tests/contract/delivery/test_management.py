"""Statistics of queues from the management plugin of a real broker."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pika
import pytest

from common import settings
from common.settings import Environment
from ingestor.delivery.management import Management
from tests.kit.servers import Broker
from tests.kit.waiting import eventually

QUEUE = "ws-gateway.trades.model"


@pytest.fixture
def management(broker: Broker) -> Management:
    return Management(settings.rabbitmq(Environment(broker.environ())))


def test_the_rate_of_acknowledgements_and_the_oldest_message_are_known(broker: Broker, management: Management):
    published_s = int(time.time()) - 60
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        kept = pika.BasicProperties(timestamp=published_s, delivery_mode=2)
        channel.basic_publish("", QUEUE, b"waits longest", kept)

        def known() -> bool:
            channel.basic_publish("", QUEUE, b"is read", kept)
            method, _, _ = channel.basic_get(QUEUE)
            channel.basic_ack(method.delivery_tag)
            management.refresh()
            consumption = management.by_queue[QUEUE]
            return bool(consumption.rate) and consumption.oldest_at == datetime.fromtimestamp(published_s, UTC)

        eventually(known, 30, "the plugin has collected both")


@pytest.mark.parametrize("port", [1, None])
def test_without_the_plugin_everything_is_unknown(broker: Broker, port: int | None):
    rabbitmq = replace(settings.rabbitmq(Environment(broker.environ())), management_port=port)
    management = Management(rabbitmq)
    management.refresh()
    assert management.by_queue == {}


def test_a_user_without_permission_leaves_everything_unknown(broker: Broker):
    rabbitmq = replace(settings.rabbitmq(Environment(broker.environ())), password="wrong")
    management = Management(rabbitmq)
    management.refresh()
    assert management.by_queue == {}
