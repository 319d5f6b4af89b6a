"""The bare persister: reads a queue, puts each body into one column of one row, commits, acknowledges.

No parsing, no columns, no checks, no batches: the difference to our persister is the cost of its guarantees.
`python -m bench.bridges.ledger AMQP_URL POSTGRES_URL` prints its lags in ms when it is stopped.
"""

import json
import signal
import sys
import time
from datetime import datetime
from typing import Any

import pika
import psycopg2

QUEUE = "bench.ledger"
_ARGUMENTS = {"x-queue-type": "quorum", "x-single-active-consumer": True}
_RECEIVED = b'"receivedtime":"'
_TIME_DIGITS = 27


def main(amqp: str, postgres: str) -> None:
    database = psycopg2.connect(postgres, gssencmode="disable")
    database.autocommit = True
    cursor = database.cursor()
    cursor.execute("CREATE TABLE IF NOT EXISTS bare (body text NOT NULL)")
    connection = pika.BlockingConnection(pika.URLParameters(amqp))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments=_ARGUMENTS)
    channel.queue_bind(QUEUE, "ws-gateway.events", "balance.#")
    channel.basic_qos(prefetch_count=200)
    lags: list[float] = []

    def stored(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        cursor.execute("INSERT INTO bare VALUES (%s)", (body.decode(),))
        begins = body.index(_RECEIVED) + len(_RECEIVED)
        received = datetime.fromisoformat(body[begins : begins + _TIME_DIGITS].decode())
        lags.append((time.time() - received.timestamp()) * 1000)
        channel.basic_ack(method.delivery_tag)

    def report(*_: Any) -> None:
        print(json.dumps([round(lag, 3) for lag in lags]), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, report)
    channel.basic_consume(QUEUE, stored)
    channel.start_consuming()


if __name__ == "__main__":
    main(*sys.argv[1:])
