"""A demo on a running gateway: its health, the subscriptions of a demo service, and its events."""

import contextlib
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pika

from common import amqp, settings
from common.errors import Unavailable, reported_as
from deploy.run.screen import Failure
from deploy.run.settings import Settings

SERVICE = "demo"
QUEUE = f"ws-gateway.trades.{SERVICE}"
CHANNEL = "trades"  # about one event per second: the queue stays short without a consumer
LEASE_S = 600
_SYMBOL = "BTCUSDT"
SUBSCRIPTION = {
    "channel_type": CHANNEL,
    "symbol": _SYMBOL,
    "requesting_service": SERVICE,
    "ttl_seconds": LEASE_S,
}
_ANSWERS_WITHIN_S = 15.0
_SHOWN_S = 4.0
_LEAST, _MOST = 3, 8
_ARRIVE_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Api:
    """A client of the API, like any other service."""

    url: str
    key: str

    def health(self) -> tuple[int, Mapping[str, Any]]:
        return self._call("GET", "/health")

    def subscribe_demo(self) -> None:
        """Subscribe or renew for ten minutes: a subscription without a consumer must not stay."""
        status, answer = self._call("POST", "/api/v1/subscriptions", SUBSCRIPTION)
        if status not in (200, 201):
            raise Failure(f"subscribing {CHANNEL} {_SYMBOL} for {SERVICE} was answered {status}: {answer}")

    def serves(self, service: str) -> bool:
        """Whether all subscriptions of the service are live and its queues exist."""
        return self._call("GET", f"/ready?service={service}")[0] == 200

    def _call(self, method: str, path: str, body: object = None) -> tuple[int, Mapping[str, Any]]:
        call = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": self.key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(call, timeout=_ANSWERS_WITHIN_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with contextlib.suppress(ValueError):
                return error.code, json.load(error)
            return error.code, {}


def api(found: Settings) -> Api:
    host = "127.0.0.1" if found.bind in ("0.0.0.0", "::") else found.bind
    return Api(f"http://{f'[{host}]' if ':' in host else host}:{found.api_port}", found.api_key)


def amqp_url(rabbitmq: settings.RabbitMQ) -> str:
    host, port = rabbitmq.hosts[0]
    scheme = "amqps" if rabbitmq.tls else "amqp"
    secret = f"{quote(rabbitmq.user, '')}:{quote(rabbitmq.password, '')}"
    return f"{scheme}://{secret}@{f'[{host}]' if ':' in host else host}:{port}/{quote(rabbitmq.vhost, '')}"


def unhealthy(health: Mapping[str, Any]) -> str:
    """The components that are not healthy, in a few words."""
    components = health.get("components", {})
    if not isinstance(components, Mapping):
        return ""
    states = {name: part.get("state", "") if isinstance(part, Mapping) else part for name, part in components.items()}
    return ", ".join(f"{name} {state}" for name, state in states.items() if state not in ("healthy", "ok", "up"))


def events(rabbitmq: settings.RabbitMQ, print_line: Callable[[str], None]) -> Iterator[str]:
    """Consume the demo queue for some seconds; one line per event."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    connected = contextlib.closing(amqp.connect(rabbitmq, f"ws-gateway {SERVICE}"))
    with reported_as(Unavailable, *amqp.AWAY), connected as connection:
        channel = connection.channel()
        waiting = channel.queue_declare(QUEUE, passive=True).method
        if waiting.consumer_count:
            print_line("  another consumer reads this queue, so its events are not shown here")
            return
        if waiting.message_count > _MOST:
            print_line(f"  ({waiting.message_count} earlier events waited in the demo's queue; they are skipped)")
            channel.queue_purge(QUEUE)
        yield from _arriving(channel)


def _arriving(channel: pika.adapters.blocking_connection.BlockingChannel) -> Iterator[str]:
    shown, began_at = 0, time.monotonic()
    for method, _, body in channel.consume(QUEUE, auto_ack=True, inactivity_timeout=0.2):
        if method is not None:
            shown += 1
            yield line(body)
        passed_s = time.monotonic() - began_at
        if shown >= _MOST or (shown >= _LEAST and passed_s > _SHOWN_S) or passed_s > _ARRIVE_WITHIN_S:
            break
    channel.cancel()
    if not shown:
        raise Unavailable(f"no event arrived in {QUEUE} within {_ARRIVE_WITHIN_S:.0f} s")


def line(body: bytes) -> str:
    event = json.loads(body)
    received = str(event.get("receivedtime", ""))[11:23]
    data = event.get("data")
    if isinstance(data, dict):
        data = data.get("data", data)  # the frame of Bybit contains the topic again
    shown = json.dumps(data, separators=(",", ":"))
    return f"  {received}  {event.get('type', ''):<14} {event.get('subject', ''):<22} {shown}"[:118]
