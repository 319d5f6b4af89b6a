"""`ws-gateway dead`: the messages that somebody of ours refused, to be read and to be sent back."""
# ruff: noqa: T201  (a command speaks to people)

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError

from common import amqp, settings
from common.errors import Unavailable, reported_as
from common.events import digest
from common.topology import DEAD

Act: TypeAlias = Callable[[BlockingChannel, argparse.Namespace], int]

_WIDTH = 100
_KEPT = ("content_type", "type", "message_id", "timestamp", "app_id", "delivery_mode")


@dataclass(frozen=True, slots=True)
class Dead:
    tag: int
    properties: pika.BasicProperties
    body: bytes

    @property
    def id(self) -> str:
        return self.properties.message_id or digest(self.body)

    @property
    def queue(self) -> str:
        """Where it was refused, or fell out of; empty when nobody said."""
        return str(self._headers.get("queue") or self._death.get("queue") or "")

    @property
    def reason(self) -> str:
        return str(self._headers.get("reason") or self._death.get("reason") or "unknown")

    @property
    def since(self) -> str:
        told = self._headers.get("refused-at") or self._death.get("time")
        return told.replace(tzinfo=UTC).isoformat() if isinstance(told, datetime) else str(told or "")

    @property
    def _headers(self) -> dict[str, Any]:
        return self.properties.headers or {}

    @property
    def _death(self) -> dict[str, Any]:
        """What RabbitMQ noted when it moved the message here."""
        deaths = self._headers.get("x-death") or [{}]
        return deaths[0] if isinstance(deaths[0], dict) else {}


def describe(dead: argparse.ArgumentParser) -> None:
    acts = dead.add_subparsers(required=True, metavar="list, show or replay")
    listing = acts.add_parser("list", help="the oldest first")
    listing.add_argument("--limit", type=int, default=100, help="at most this many (100)")
    listing.set_defaults(act=partial(_with_broker, _list))
    show = acts.add_parser("show", help="one message, whole")
    show.add_argument("id")
    show.set_defaults(act=partial(_with_broker, _show))
    replay = acts.add_parser("replay", help="send messages back to the queue they were refused in")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="id")
    which.add_argument("--all", action="store_true", help="every message that is here now")
    replay.set_defaults(act=partial(_with_broker, _replay))


def _with_broker(act: Act, asked: argparse.Namespace, values: Mapping[str, str]) -> int:
    env = settings.Environment(values)
    rabbitmq = settings.rabbitmq(env)
    env.checked()
    where = ", ".join(f"{host}:{port}" for host, port in rabbitmq.hosts)
    with reported_as(Unavailable, *amqp.AWAY):
        try:
            connection = amqp.connect(rabbitmq, "ws-gateway dead")
        except Unavailable as error:
            raise Unavailable(f"no way to RabbitMQ at {where}: {error}") from error
        try:
            return act(connection.channel(), asked)
        finally:
            connection.close()  # what is not acknowledged goes back to its place


def _list(channel: BlockingChannel, asked: argparse.Namespace) -> int:
    total = _count(channel)
    for _, message in zip(range(asked.limit), _messages(channel), strict=False):
        line = f"{message.id}  {message.since}  {message.queue or '-'}  {message.reason}"
        print(line if len(line) <= 2 * _WIDTH else line[: 2 * _WIDTH] + "…")
    print(f"{total} in {DEAD}", file=sys.stderr)
    return 0


def _show(channel: BlockingChannel, asked: argparse.Namespace) -> int:
    for message in _messages(channel):
        if message.id == asked.id:
            told = {"id": message.id, "queue": message.queue, "since": message.since, "reason": message.reason}
            for name, value in told.items():
                print(f"{name}: {value}")
            print()
            print(message.body.decode("utf-8", "backslashreplace"))
            return 0
    return _missing({asked.id})


def _replay(channel: BlockingChannel, asked: argparse.Namespace) -> int:
    """Sent and confirmed, then taken out of here: a message may come twice, and is never lost."""
    channel.confirm_delivery()
    met, failed = set[str](), 0
    for message in _messages(channel):
        if asked.all or message.id in asked.ids:
            met.add(message.id)
            failed += not _send_back(channel, message)
    return _missing(set(asked.ids) - met) or int(failed > 0)


def _send_back(channel: BlockingChannel, message: Dead) -> bool:
    if not message.queue:
        print(f"{message.id}: nobody said where it came from; it stays", file=sys.stderr)
        return False
    properties = pika.BasicProperties(**{name: getattr(message.properties, name) for name in _KEPT})
    try:
        channel.basic_publish("", message.queue, message.body, properties, mandatory=True)
    except UnroutableError:
        print(f"{message.id}: the queue {message.queue} is not there; it stays", file=sys.stderr)
        return False
    channel.basic_ack(message.tag)
    print(f"{message.id}  sent back to {message.queue}")
    return True


def _messages(channel: BlockingChannel) -> Iterator[Dead]:
    """Those that are here now, the oldest first; one that is refused again meanwhile is not met twice."""
    for _ in range(_count(channel)):
        method, properties, body = channel.basic_get(DEAD)
        if method is None:
            return
        yield Dead(method.delivery_tag, properties, body)


def _count(channel: BlockingChannel) -> int:
    return int(channel.queue_declare(DEAD, passive=True).method.message_count)


def _missing(ids: set[str]) -> int:
    for each in sorted(ids):
        print(f"{each}: no such message in {DEAD}", file=sys.stderr)
    return int(bool(ids))
