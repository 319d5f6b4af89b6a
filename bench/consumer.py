"""The services at the other end: one connection each, counting what comes.

`python -m bench.consumer` with the broker in RABBITMQ_*. Orders:
`{"do": "start", "queues": {"service": ["queue"]}, "first": 0, "most": 60000, "wrapping": 1}` ·
`{"do": "report", "sent": 60000, "warm": 6000, "within_s": 30}` waits until all have come, or nothing comes any more.
"""

import os
import select
import sys
import time
from dataclasses import dataclass, field

from bench.deliveries import ACKED_EVERY_S, Deliveries
from bench.orders import Message, Orders, answer
from bench.tally import Tally
from tests.kit.servers import Broker

_PREFETCH = 1000
_SILENT_S = 8.0  # nothing came for so long: nothing will
_AGAIN_S = 0.1


@dataclass(slots=True)
class Service:
    name: str
    queues: list[str]
    tally: Tally
    deliveries: Deliveries | None = None
    again_at: float = 0.0


@dataclass(slots=True)
class Consumer:
    broker: Broker
    services: list[Service] = field(default_factory=list)
    orders: Orders = field(default_factory=Orders)

    def run(self) -> None:
        answer({"ready": True})
        while not self.orders.ended:
            for order in self._turn(0.5):
                match order["do"]:
                    case "start":
                        self._start(order)
                    case "report":
                        self._finish(order["sent"], order["within_s"])
                        answer(self._report(order))

    def _start(self, order: Message) -> None:
        sizes = (order["first"], order["most"], order["wrapping"])
        queues = order["queues"]
        kept = {each.name: each for each in self.services if each.queues == queues.get(each.name)}
        for service in self.services:
            if service.name not in kept:
                self._drop(service)
        self.services = []
        for name, own in queues.items():
            service = kept.get(name) or Service(name, own, Tally(*sizes))
            service.tally = Tally(*sizes)
            self.services.append(service)
        until = time.monotonic() + 10
        while any(service.deliveries is None for service in self.services) and time.monotonic() < until:
            self._turn(0.05)
        answer({"consuming": sum(service.deliveries is not None for service in self.services)})

    def _finish(self, sent: int, within_s: float) -> None:
        until, seen, seen_at = time.monotonic() + within_s, -1, time.monotonic()
        while time.monotonic() < until:
            received = sum(service.tally.received for service in self.services)
            if all(service.tally.received >= sent for service in self.services):
                break
            if received != seen:
                seen, seen_at = received, time.monotonic()
            elif time.monotonic() - seen_at > _SILENT_S:
                break
            self._turn(0.05)
        for _ in range(5):  # a repeat that is still under way
            self._turn(0.02)

    def _report(self, order: Message) -> Message:
        report: Message = {
            service.name: service.tally.report(order["sent"], order["warm"]) for service in self.services
        }
        tally = self.services[0].tally
        spans = [tally.span(*each) for each in order.get("spans", [])]
        live = tally.on_time_from(order["after_us"], order["within_ms"]) if "after_us" in order else 0
        return {"services": report, "spans": spans, "live_us": live}

    def _turn(self, wait_s: float) -> list[Message]:
        by_socket = {each.deliveries.socket.fileno(): each for each in self.services if each.deliveries is not None}
        if len(by_socket) < len(self.services):
            self._connect()
            wait_s = min(wait_s, _AGAIN_S)
        if any(each.deliveries is not None and each.deliveries.owes for each in self.services):
            wait_s = min(wait_s, ACKED_EVERY_S)
        orders = self.orders.fileno()
        readable = select.select([orders, *by_socket], [], [], wait_s)[0]
        for number in readable:
            if number != orders:
                self._read(by_socket[number])
        for service in self.services:
            self._settle(service)
        return self.orders.read() if orders in readable else []

    def _read(self, service: Service) -> None:
        try:
            if service.deliveries is not None:
                service.deliveries.read(service.tally.arrive, service.tally.keep)
        except OSError:
            self._drop(service)

    def _settle(self, service: Service) -> None:
        try:
            if service.deliveries is not None:
                service.deliveries.settle(time.monotonic())
        except OSError:
            self._drop(service)

    def _connect(self) -> None:
        for service in self.services:
            if service.deliveries is None and time.monotonic() >= service.again_at:
                service.again_at = time.monotonic() + _AGAIN_S
                try:
                    service.deliveries = Deliveries(self.broker, service.queues, _PREFETCH)
                except OSError:
                    continue

    def _drop(self, service: Service) -> None:
        if service.deliveries is not None:
            service.deliveries.close()
        service.deliveries = None


def main() -> int:
    env = os.environ
    broker = Broker(
        env["RABBITMQ_HOST"], int(env["RABBITMQ_PORT"]), 0, env["RABBITMQ_USER"], env["RABBITMQ_PASSWORD"],
        env["RABBITMQ_VHOST"],
    )  # fmt: skip
    Consumer(broker).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
