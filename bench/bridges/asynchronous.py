"""asyncio: aiohttp's WebSocket client and aio-pika with publisher confirms, many of them under way at a time.

aiohttp stands in for the library `websockets`, which the project does not install.
"""

import asyncio
import json

import aio_pika
import aiohttp

from bench.bridges.common import EXCHANGE, WINDOW, arguments, keys, subscribe


async def main() -> None:
    given, routing_keys = arguments(), keys()
    connection = await aio_pika.connect(given.amqp)
    channel = await connection.channel(publisher_confirms=True)
    exchange = await channel.get_exchange(EXCHANGE)
    room, under_way = asyncio.Semaphore(WINDOW), set[asyncio.Task[None]]()

    async def publish(topic: str, body: bytes) -> None:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        try:
            await exchange.publish(message, routing_keys[topic], mandatory=False)
        finally:
            room.release()

    async with aiohttp.ClientSession() as session, session.ws_connect(given.websocket) as socket:
        await socket.send_str(subscribe())
        async for message in socket:
            topic = json.loads(message.data).get("topic")
            if topic is None:
                continue
            await room.acquire()
            task = asyncio.create_task(publish(topic, message.data.encode()))
            under_way.add(task)
            task.add_done_callback(under_way.discard)


if __name__ == "__main__":
    asyncio.run(main())
