"""Queue statistics that only RabbitMQ's management plugin has, where it is enabled."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
import requests
import structlog
from requests.auth import HTTPBasicAuth

from common import settings, tls
from common.errors import Unavailable, reported_as

log = structlog.get_logger(__name__)

REQUEST_EVERY_S = 5.0
_TIMEOUT_S = 3.0  # to connect, and for each read
_COLUMNS = "name,message_stats.ack_details.rate,head_message_timestamp"


@dataclass(frozen=True, slots=True)
class Consumption:
    """A queue's acknowledged messages per second, and when its oldest ready message was published; None if unknown."""

    rate: float | None
    oldest_at: datetime | None


UNKNOWN = Consumption(None, None)


class Management:
    """Requests the statistics every five seconds, of one host after the other until one answers.

    Without an answer everything is unknown; nothing else depends on it (rabbitmq.com/docs/management).
    """

    name = "management"

    def __init__(self, rabbitmq: settings.RabbitMQ) -> None:
        self._rabbitmq = rabbitmq
        self._available = True
        self.by_queue: Mapping[str, Consumption] = {}

    def run(self, stop: threading.Event) -> None:
        if self._rabbitmq.management_port is None:
            stop.wait()
        while not stop.wait(REQUEST_EVERY_S):
            self.refresh()

    def refresh(self) -> None:
        """Update `by_queue`; a failure is logged once."""
        try:
            self.by_queue = self._requested()
        except Unavailable as error:
            self.by_queue = {}
            if self._available:
                log.info("management API unavailable, consume rates unknown", reason=str(error))
            self._available = False
        else:
            self._available = True

    def _requested(self) -> dict[str, Consumption]:
        error = Unavailable("no host")
        for host, _ in self._rabbitmq.hosts:
            try:
                return _consumptions(self._get(host))
            except Unavailable as refused:
                error = Unavailable(tls.explained(str(refused), tls.RABBITMQ))
        raise error

    def _get(self, host: str) -> Any:
        rabbitmq = self._rabbitmq
        scheme = "https" if rabbitmq.tls else "http"
        vhost = quote(rabbitmq.vhost, safe="")
        with reported_as(Unavailable, OSError, ValueError), requests.Session() as session:  # OSError: no CA file, too
            session.trust_env = False  # the broker is not behind a proxy
            answer = session.get(
                f"{scheme}://{host}:{rabbitmq.management_port}/api/queues/{vhost}",
                params={"columns": _COLUMNS},
                auth=HTTPBasicAuth(
                    rabbitmq.user.encode(), rabbitmq.password.encode()
                ),  # a str would be sent as Latin-1
                verify=rabbitmq.ca_file or True,
                cert=(rabbitmq.cert_file, rabbitmq.key_file) if rabbitmq.cert_file else None,
                timeout=_TIMEOUT_S,
            )
            answer.raise_for_status()
            return orjson.loads(answer.content)


def _consumptions(queues: Any) -> dict[str, Consumption]:
    """The rows that are valid; the plugin may be of any release."""
    rows: Iterable[Any] = queues if isinstance(queues, list) else ()
    return {str(row["name"]): _consumption(row) for row in rows if isinstance(row, dict) and "name" in row}


def _consumption(row: dict[str, Any]) -> Consumption:
    rate: Any = row
    for name in ("message_stats", "ack_details", "rate"):
        rate = rate.get(name) if isinstance(rate, dict) else None
    oldest = row.get("head_message_timestamp")
    return Consumption(
        rate=float(rate) if isinstance(rate, int | float) else None,
        oldest_at=datetime.fromtimestamp(oldest, UTC) if type(oldest) is int and 0 < oldest < 2**33 else None,
    )
