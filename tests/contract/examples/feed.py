"""A service's queue as the gateway makes it, numbered events for it, and the example that reads it in a thread."""

import threading
from collections.abc import Callable
from typing import Any

import pika

from common import events, topology
from common.channels import Request, resolve
from common.settings import Retention
from examples.consumer import Check, Event, Topic, consume
from tests.kit.servers import Broker

CHANNEL = resolve(Request("trades", "BTCUSDT"))
TOPIC: Topic = ("/bybit/simulator/linear", "publicTrade.BTCUSDT")
QUEUE = topology.queue_of(CHANNEL, "reader", Retention(24, 100_000), "classic")
EPOCH = "01A"


class Feed:
    """Publishes what the gateway might, in a sequence that the test chooses."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def make_queue(self) -> None:
        self._on_channel(lambda channel: channel.queue_declare(QUEUE.name, durable=True, arguments=QUEUE.arguments))

    def delete_queue(self) -> None:
        self._on_channel(lambda channel: channel.queue_delete(QUEUE.name))

    def left(self) -> int:
        """How many wait that no consumer holds."""
        return int(self._declared().message_count)

    def consumers(self) -> int:
        return int(self._declared().consumer_count)

    def publish(self, *numbers: int, epoch: str = EPOCH, kind: str = "bybit.trades") -> None:
        def sent(channel: Any) -> None:
            channel.confirm_delivery()
            for number in numbers:
                properties = pika.BasicProperties(message_id=event_id(epoch, number), delivery_mode=2)
                channel.basic_publish("", QUEUE.name, body(number, epoch, kind), properties, mandatory=True)

        self._on_channel(sent)

    def _declared(self) -> Any:
        found: list[Any] = []
        self._on_channel(lambda channel: found.append(channel.queue_declare(QUEUE.name, passive=True).method))
        return found[0]

    def _on_channel(self, act: Callable[[Any], object]) -> None:
        connection = self._broker.connect()
        try:
            act(connection.channel())
        finally:
            if connection.is_open:
                connection.close()


class Reading:
    """`consume` in a thread: what it handled, in sequence, and what was reported to it."""

    def __init__(self, url: str, handle: Callable[[Event], object] = lambda _: None, patience_s: float = 3600) -> None:
        self.numbers: list[int] = []
        self.gaps: list[Event] = []
        self.lost: list[tuple[Topic, str, int, int]] = []
        self.raised: Exception | None = None
        self._url = url
        self._handle = handle
        self._check = Check(patience_s=patience_s)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Reading":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            consume(
                self._url,
                QUEUE.name,
                self._handled,
                on_gap=self.gaps.append,
                on_loss=lambda *lost: self.lost.append(lost),
                stop=self._stop,
                check=self._check,
            )
        except ArithmeticError as error:  # what the tests' handlers raise
            self.raised = error

    def _handled(self, event: Event) -> None:
        self._handle(event)
        self.numbers.append(int(event["sequence"]))


def event(number: int, epoch: str = EPOCH) -> Event:
    return {"source": TOPIC[0], "subject": TOPIC[1], "epoch": epoch, "sequence": f"{number:020d}"} | {
        "id": event_id(epoch, number)
    }


def event_id(epoch: str, number: int) -> str:
    return events.digest(epoch.encode(), str(number).encode())


def body(number: int, epoch: str, kind: str) -> bytes:
    origin = "live" if kind == "bybit.trades" else "gateway"
    form = events.Form(source=TOPIC[0], type=kind, subject=TOPIC[1], epoch=epoch, origin=origin)
    moment_ms = 1_700_000_000_000 + number
    data = b'{"topic": "publicTrade.BTCUSDT", "data": []}'
    return form.render(event_id(epoch, number), moment_ms, 1_700_000_000_000_000_000 + number, number, data)
