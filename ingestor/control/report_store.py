"""The tables in which the reporter publishes what the ingestor observes."""

import socket
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine

from common import database
from common.channels import CHANNEL_TYPES
from common.tables import connections, gaps, ingestors, queues, topics
from ingestor.control.topic_reports import Key
from ingestor.delivery.management import UNKNOWN, Consumption
from ingestor.delivery.queue_alarms import Level
from ingestor.delivery.queue_monitor import Depth
from ingestor.feed.gaps import Gap
from ingestor.observed import ObservedConnection, ObservedTopic


class PostgresReports:
    """Each method is one transaction, and raises Unavailable for any error of the database."""

    def __init__(self, engine: Engine, epoch: str) -> None:
        self._engine = engine
        self._epoch = epoch

    def write_heartbeat(
        self,
        generation: int,
        delivery: ingestors.DeliveryState,
        observed: Sequence[ObservedConnection],
        clock_offset_ms: float | None,
        *,
        forget_earlier: bool,
    ) -> None:
        """Write the heartbeat of this run with its connections; `forget_earlier` removes the topics of earlier runs."""
        with database.retriable(), self._engine.begin() as connection:
            ingestors.beat(
                connection,
                epoch=self._epoch,
                host=socket.gethostname(),
                role="leader",
                generation=generation,
                delivery=delivery,
            )
            rows = [_connection_row(self._epoch, each, clock_offset_ms) for each in observed]
            connections.record(connection, self._epoch, rows)
            if forget_earlier:
                topics.forget_earlier(connection, self._epoch)

    def write_topics(self, gone: Sequence[Key], changed: Mapping[Key, ObservedTopic]) -> None:
        with database.retriable(), self._engine.begin() as connection:
            topics.forget(connection, gone)
            rows = [_topic_row(self._epoch, endpoint, topic) for (endpoint, _), topic in changed.items()]
            topics.record(connection, rows)

    def write_queues(
        self, depths: Mapping[str, Depth], consumptions: Mapping[str, Consumption], mismatched: Collection[str]
    ) -> None:
        """Replaces all rows."""
        rows = [
            queue_row(depth, consumptions.get(name, UNKNOWN), other_arguments=name in mismatched)
            for name, depth in depths.items()
        ]
        with database.retriable(), self._engine.begin() as connection:
            queues.record(connection, rows)

    def write_gaps(self, changed: Iterable[Gap]) -> None:
        with database.retriable(), self._engine.begin() as connection:
            gaps.record(connection, [_gap_row(gap) for gap in changed])

    def leave(self) -> None:
        """This run ended regularly."""
        with database.retriable(), self._engine.begin() as connection:
            ingestors.leave(connection, self._epoch)


def queue_row(depth: Depth, consumption: Consumption, *, other_arguments: bool) -> queues.QueueRow:
    rest = depth.name.removeprefix("ws-gateway.")
    event_class, _, service = rest.partition(".")
    return queues.QueueRow(
        name=depth.name,
        event_class=event_class if event_class in CHANNEL_TYPES else rest,
        service=service or None,
        ready=depth.ready,
        consumers=depth.consumers,
        publish_rate=depth.publish_rate,
        net_rate=depth.net_rate,
        unused_since=depth.unused_since,
        alarm=None if depth.alarm.level is Level.OK else str(depth.alarm.level),
        reason=depth.alarm.reason,
        consume_rate=consumption.rate,
        oldest_at=consumption.oldest_at,
        nobody_since=None if depth.unread_since is None else _time_of_day(depth.unread_since),
        read_since=None if depth.read_since is None else _time_of_day(depth.read_since),
        other_arguments=other_arguments,
        observed_at=_time_of_day(depth.observed_at),
    )


def _time_of_day(monotonic_s: float) -> datetime:
    return datetime.fromtimestamp(time.time() - (time.monotonic() - monotonic_s), UTC)


def _connection_row(epoch: str, observed: ObservedConnection, offset_ms: float | None) -> connections.ConnectionRow:
    return connections.ConnectionRow(
        epoch=epoch,
        endpoint=observed.endpoint,
        socket_no=observed.number,
        state=str(observed.state),
        since=observed.since,
        attempts=observed.attempts,
        last_error=observed.last_error,
        rtt_ms=observed.rtt_ms,
        clock_offset_ms=offset_ms,
        last_heartbeat_at=observed.last_heartbeat_at,
    )


def _topic_row(epoch: str, endpoint: str, topic: ObservedTopic) -> topics.TopicRow:
    return topics.TopicRow(
        endpoint=endpoint,
        topic=topic.channel.topic,
        channel_type=topic.channel.channel_type,
        state=topic.state,
        reason=topic.reason,
        epoch=epoch,
        acked_at=topic.acked_at,
        last_event_at=topic.last_event_at,
        events=topic.events,
    )


def _gap_row(gap: Gap) -> gaps.GapRow:
    return gaps.GapRow(
        endpoint=gap.endpoint,
        topic=gap.topic,
        opened=gap.opened,
        closed=gap.closed,
        cause=gap.cause,
        ids={"last_id": gap.last_id, "first_id": gap.first_id},
        healed=gap.healed,
    )
