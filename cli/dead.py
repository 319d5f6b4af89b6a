"""`ws-gateway dead`: read the messages that were set aside, and send them back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import pika
import typer
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError

from cli.output import print_problem, print_rows
from common import amqp, settings
from common.errors import Unavailable, reported_as
from common.events import digest
from common.topology import DEAD

_REPLAYED_PROPERTIES = ("content_type", "type", "message_id", "timestamp", "app_id", "delivery_mode")

app = typer.Typer(
    help=f"Read and replay dead-lettered messages (queue {DEAD}).",
    no_args_is_help=True,
)


@dataclass(frozen=True, slots=True)
class DeadMessage:
    tag: int
    properties: pika.BasicProperties
    body: bytes

    @property
    def id(self) -> str:
        """The message id, or the digest of the body when it has none."""
        return self.properties.message_id or digest(self.body)

    @property
    def queue(self) -> str:
        """The queue that it was refused in or dropped from; empty when unknown."""
        return str(self._headers.get("queue") or self._death.get("queue") or "")

    @property
    def reason(self) -> str:
        return str(self._headers.get("reason") or self._death.get("reason") or "unknown")

    @property
    def since(self) -> str:
        """RFC 3339; empty when unknown."""
        since = self._headers.get("refused-at") or self._death.get("time")
        return since.replace(tzinfo=UTC).isoformat() if isinstance(since, datetime) else str(since or "")

    @property
    def _headers(self) -> dict[str, Any]:
        return self.properties.headers or {}

    @property
    def _death(self) -> dict[str, Any]:
        """What RabbitMQ noted when it dead-lettered the message (rabbitmq.com/docs/dlx)."""
        deaths = self._headers.get("x-death") or [{}]
        return deaths[0] if isinstance(deaths[0], dict) else {}


@app.command("list")
def list_messages(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of messages to list.")] = 100,
) -> None:
    """List messages, oldest first: id, time, queue and reason."""
    with _broker(context.obj) as channel:
        total = _count(channel)
        rows = [(each.id, each.since, each.queue or "-", each.reason) for each in islice(_messages(channel), limit)]
    print_rows(("id", "since", "queue", "reason"), rows)
    print_problem(f"{total} in {DEAD}")


@app.command()
def show(context: typer.Context, id: Annotated[str, typer.Argument(help="Id of the message, from `list`.")]) -> None:
    """Show one message completely."""
    with _broker(context.obj) as channel:
        message = next((each for each in _messages(channel) if each.id == id), None)
    if message is None:
        _fail_for_missing({id})
        return
    for name in ("id", "queue", "since", "reason"):
        typer.echo(f"{name}: {getattr(message, name)}")
    typer.echo()
    typer.echo(message.body.decode("utf-8", "backslashreplace"))


@app.command()
def replay(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of messages, from `list`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Replay every message that is in the queue now.")] = False,
) -> None:
    """Send messages back to the queue that they were refused in.

    Each message is published and confirmed before it is removed: it may be delivered twice, and is never lost.
    """
    named = set(ids or ())
    if every == bool(named):
        raise typer.BadParameter("give the ids of messages, or --all for every message", param_hint="ID or --all")
    with _broker(context.obj) as channel:
        channel.confirm_delivery()
        found = [(each.id, _replay(channel, each)) for each in _messages(channel) if every or each.id in named]
    _fail_for_missing(named - {each for each, _ in found})
    if not all(replayed for _, replayed in found):
        raise typer.Exit(1)


@contextmanager
def _broker(values: Mapping[str, str]) -> Iterator[BlockingChannel]:
    """A channel to the broker of these settings; messages that are not acknowledged return to their place.

    Raises ConfigError and Unavailable.
    """
    env = settings.Environment(values)
    rabbitmq = settings.rabbitmq(env)
    env.checked()
    hosts = ", ".join(f"{host}:{port}" for host, port in rabbitmq.hosts)
    with reported_as(Unavailable, *amqp.AWAY):
        try:
            connection = amqp.connect(rabbitmq, "ws-gateway dead")
        except Unavailable as error:
            raise Unavailable(
                f"RabbitMQ unavailable at {hosts}, check RABBITMQ_HOST and RABBITMQ_PORT: {error}"
            ) from error
        try:
            yield connection.channel()
        finally:
            connection.close()


def _replay(channel: BlockingChannel, message: DeadMessage) -> bool:
    """Whether the message was sent back; otherwise it stays, and the reason is printed."""
    if not message.queue:
        print_problem(f"{message.id}: origin queue unknown; left in {DEAD}")
        return False
    properties = pika.BasicProperties(**{name: getattr(message.properties, name) for name in _REPLAYED_PROPERTIES})
    try:
        channel.basic_publish("", message.queue, message.body, properties, mandatory=True)
    except UnroutableError:
        print_problem(f"{message.id}: queue {message.queue} does not exist; left in {DEAD}")
        return False
    channel.basic_ack(message.tag)
    typer.echo(f"{message.id}  sent back to {message.queue}")
    return True


def _messages(channel: BlockingChannel) -> Iterator[DeadMessage]:
    """The messages that are in the queue now, oldest first: one that is refused again meanwhile is not included."""
    for _ in range(_count(channel)):
        method, properties, body = channel.basic_get(DEAD)
        if method is None:
            return
        yield DeadMessage(method.delivery_tag, properties, body)


def _count(channel: BlockingChannel) -> int:
    return int(channel.queue_declare(DEAD, passive=True).method.message_count)


def _fail_for_missing(ids: set[str]) -> None:
    for each in sorted(ids):
        print_problem(f"{each}: no such message in {DEAD}; `ws-gateway dead list` shows the ids")
    if ids:
        raise typer.Exit(1)
