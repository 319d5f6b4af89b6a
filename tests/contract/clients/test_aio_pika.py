"""A service's queue read by another AMQP client than the one that fills it: aio-pika."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from tests.contract.examples.feed import EPOCH, QUEUE, Feed, event_id
from tests.kit.servers import Broker

WITHIN_S = 20
T = TypeVar("T")


@pytest.fixture
def feed(broker: Broker) -> Feed:
    made = Feed(broker)
    made.make_queue()
    return made


def test_it_reads_a_queue_that_it_did_not_make_in_order(feed: Feed, broker: Broker):
    feed.publish(*range(1, 101))

    async def read(queue: AbstractQueue) -> list[AbstractIncomingMessage]:
        return await taken(queue, 100)

    messages = asyncio.run(with_queue(broker, read))
    assert [message.message_id for message in messages] == [event_id(EPOCH, number) for number in range(1, 101)]
    events = [json.loads(message.body) for message in messages]
    assert [int(event["sequence"]) for event in events] == list(range(1, 101))
    assert messages[0].delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert feed.left() == 0


def test_what_it_did_not_ack_comes_again_first(feed: Feed, broker: Broker):
    feed.publish(*range(1, 21))

    async def read_and_leave(queue: AbstractQueue) -> None:
        for _ in range(5):
            message = await queue.get(timeout=WITHIN_S)
            assert message is not None
            if message.delivery_tag and message.delivery_tag <= 2:
                await message.ack()

    async def read(queue: AbstractQueue) -> list[AbstractIncomingMessage]:
        return await taken(queue, 18)

    asyncio.run(with_queue(broker, read_and_leave))
    messages = asyncio.run(with_queue(broker, read))
    assert [message.message_id for message in messages] == [event_id(EPOCH, number) for number in range(3, 21)]
    assert [message.redelivered for message in messages] == [True] * 3 + [False] * 15


def test_only_one_of_its_two_consumers_reads_at_a_time(feed: Feed, broker: Broker):
    async def read_twice(queue: AbstractQueue) -> tuple[int, int]:
        first, second = asyncio.Queue[AbstractIncomingMessage](), asyncio.Queue[AbstractIncomingMessage]()
        tag = await queue.consume(first.put)
        await queue.consume(second.put)
        await asyncio.to_thread(feed.publish, 1, 2, 3)
        for _ in range(3):
            await (await asyncio.wait_for(first.get(), WITHIN_S)).ack()
        untouched = second.qsize()
        await queue.cancel(tag)
        await asyncio.to_thread(feed.publish, 4)
        message = await asyncio.wait_for(second.get(), WITHIN_S)
        await message.ack()
        return untouched, int(json.loads(message.body)["sequence"])

    assert QUEUE.arguments["x-single-active-consumer"]
    assert asyncio.run(with_queue(broker, read_twice)) == (0, 4)


async def with_queue(broker: Broker, act: Callable[[AbstractQueue], Awaitable[T]]) -> T:
    connection = await aio_pika.connect(broker.url())
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=10)
        return await act(await channel.declare_queue(QUEUE.name, passive=True))


async def taken(queue: AbstractQueue, count: int) -> list[AbstractIncomingMessage]:
    messages: list[AbstractIncomingMessage] = []
    async with asyncio.timeout(WITHIN_S), queue.iterator() as arriving:
        async for message in arriving:
            await message.ack()
            messages.append(message)
            if len(messages) == count:
                break
    return messages
