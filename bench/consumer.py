"""The consuming services: one connection each, counting events.

`python -m bench.consumer` with the broker in RABBITMQ_*. Commands:
`{"do": "start", "queues": {"service": ["queue"]}, "first": 0, "most": 60000, "wrapping": 1}` ·
`{"do": "report", "sent": 60000, "warm": 6000, "within_s": 30}` waits until all have arrived or no more arrive.
"""

import os
import select
import sys
import time
from dataclasses import dataclass, field

from bench.counter import EventCounter
from bench.deliveries import ACKED_EVERY_S, Deliveries
from bench.protocol import Commands, Message, reply
from tests.kit.servers import Broker

_PREFETCH = 1000
_SILENT_S = 8.0  # no event for this time: no more are expected
_AGAIN_S = 0.1


@dataclass(slots=True)
class Service:
    name: str
    queues: list[str]
    counter: EventCounter
    deliveries: Deliveries | None = None
    again_at: float = 0.0


@dataclass(slots=True)
class Consumers:
    broker: Broker
    services: list[Service] = field(default_factory=list)
    commands: Commands = field(default_factory=Commands)

    def run(self) -> None:
        reply({"ready": True})
        while not self.commands.ended:
            for command in self._turn(0.5):
                match command["do"]:
                    case "start":
                        self._start(command)
                    case "report":
                        self._finish(command["sent"], command["within_s"])
                        reply(self._report(command))

    def _start(self, command: Message) -> None:
        sizes = (command["first"], command["most"], command["wrapping"])
        queues = command["queues"]
        kept = {each.name: each for each in self.services if each.queues == queues.get(each.name)}
        for service in self.services:
            if service.name not in kept:
                self._drop(service)
        self.services = []
        for name, own in queues.items():
            service = kept.get(name) or Service(name, own, EventCounter(*sizes))
            service.counter = EventCounter(*sizes)
            self.services.append(service)
        until = time.monotonic() + 10
        while any(service.deliveries is None for service in self.services) and time.monotonic() < until:
            self._turn(0.05)
        reply({"consuming": sum(service.deliveries is not None for service in self.services)})

    def _finish(self, sent: int, within_s: float) -> None:
        until = time.monotonic() + within_s
        seen = -1
        seen_at = time.monotonic()
        while time.monotonic() < until:
            received = sum(service.counter.received for service in self.services)
            if all(service.counter.received >= sent for service in self.services):
                break
            if received != seen:
                seen, seen_at = received, time.monotonic()
            elif time.monotonic() - seen_at > _SILENT_S:
                break
            self._turn(0.05)
        for _ in range(5):  # for duplicates that are still on their way
            self._turn(0.02)

    def _report(self, command: Message) -> Message:
        report: Message = {
            service.name: service.counter.report(command["sent"], command["warm"]) for service in self.services
        }
        counter = self.services[0].counter
        spans = [counter.span(*each) for each in command.get("spans", [])]
        live = counter.on_time_from(command["after_us"], command["within_ms"]) if "after_us" in command else 0
        return {"services": report, "spans": spans, "live_us": live}

    def _turn(self, wait_s: float) -> list[Message]:
        by_socket = {each.deliveries.socket.fileno(): each for each in self.services if each.deliveries is not None}
        if len(by_socket) < len(self.services):
            self._connect()
            wait_s = min(wait_s, _AGAIN_S)
        if any(each.deliveries is not None and each.deliveries.owes for each in self.services):
            wait_s = min(wait_s, ACKED_EVERY_S)
        commands = self.commands.fileno()
        readable = select.select([commands, *by_socket], [], [], wait_s)[0]
        for number in readable:
            if number != commands:
                self._read(by_socket[number])
        for service in self.services:
            self._settle(service)
        return self.commands.read() if commands in readable else []

    def _read(self, service: Service) -> None:
        try:
            if service.deliveries is not None:
                service.deliveries.read(service.counter.arrive, service.counter.keep)
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
    Consumers(broker).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
